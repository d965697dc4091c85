"""Reads stores of embeddings with random access; `store_format.py` describes the file."""

from __future__ import annotations

import io
import json
import mmap
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilesam.data.checksums import photo_checksum
from mobilesam.data.photo import PhotoRef
from mobilesam.data.store_format import (
    HEADER,
    SKIPPED,
    SUFFIX,
    Embedding,
    StoreHeader,
    checksum_name,
    parse_header,
    payload_start,
    read_payload,
    record_name,
    scale_name,
    scan,
)
from mobilesam.errors import DataError


class Store:
    """Random access to a finished store, memory-mapped; every record is checked as it is read.

    Args:
        path: a .npz of `StoreWriter`.

    Raises:
        DataError: it is damaged or no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
                self.members = {member.filename: member for member in archive.infolist()}
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # outlives the file object
            self.header = parse_header(bytes(self.payload(HEADER)), path)
            self.skipped: dict[str, str] = json.loads(bytes(self.payload(SKIPPED)))
        except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: damaged, or no store of embeddings ({error})") from error
        self.photos = {name.removesuffix(".0.npy") for name in self.members if name.endswith(".0.npy")}

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)  # a mapping cannot be pickled: each worker process maps the file itself

    def payload(self, name: str) -> memoryview:
        """Read the bytes of one zip member and check them.

        Raises:
            DataError: they are not what was written.
        """
        member = self.members[name]
        start = payload_start(member)
        data = memoryview(self.map)[start : start + member.file_size]
        if zlib.crc32(data) != member.CRC:
            raise DataError(
                f"{self.path}: record '{name}' is damaged (its checksum differs); "
                "delete this file and run `mobilesam distill embed` again"
            )
        return data

    def read(self, photo: str, view: int = 0) -> Embedding:
        """The embedding (C, gh, gw) of one view.

        Raises:
            DataError: the record is damaged.
        """
        values = np.load(io.BytesIO(self.payload(record_name(photo, view))))
        if values.dtype == np.int8:
            scale = np.load(io.BytesIO(self.payload(scale_name(photo, view))))
            return values.astype(np.float32) * scale.astype(np.float32)[:, None, None]
        return values.astype(np.float32)

    def check_photo(self, photo: str, encoded: bytes) -> None:
        """Refuse a photo that has changed since it was embedded. Stores of format 1 have no checksums to compare.

        Args:
            photo: its path in its data set.
            encoded: its file.

        Raises:
            DataError: its bytes differ.
        """
        if self.differs(photo, encoded):
            raise DataError(
                f"photo '{photo}' has changed since {self.path} was written; delete that file and run "
                "`mobilesam distill embed` again"
            )

    def differs(self, photo: str, encoded: bytes) -> bool:
        """Whether a photo's file is known to differ from the one that was embedded."""
        name = checksum_name(photo)
        return name in self.members and bytes(self.payload(name)).decode() != photo_checksum(encoded)

    def is_of(self, photos: Sequence[PhotoRef]) -> bool:
        """Whether the store was made from these photos, judged by the checksum of the first one that it holds."""
        first = next((photo for photo in photos if photo.name in self.photos), None)
        return first is not None and not self.differs(first.name, first.file.read())

    def verify(self) -> list[str]:
        """Read the whole store and return the names of damaged members."""
        damaged = []
        for name in self.members:
            try:
                self.payload(name)
            except DataError:
                damaged.append(name)
        return damaged


def find_stores(folder: Path) -> list[Path]:
    """Find the finished stores of a folder.

    Raises:
        DataError: there is none.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise DataError(f"{folder}: no store of embeddings; write it with `mobilesam distill embed RECIPE -o {folder}`")
    return files


def read_header(path: Path) -> StoreHeader | None:
    """Read the header of a store, finished or not, without the zip directory; None where it is incomplete."""
    with open(path, "rb") as file:
        first = next(scan(file), None)
        if first is None or first.filename != HEADER:
            return None
        return parse_header(read_payload(file, first), path)
