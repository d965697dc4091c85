"""Reads stores of embeddings with random access; `store_format.py` describes the file."""

from __future__ import annotations

import mmap
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilesam.arrays import parse_npy
from mobilesam.contract import PATCH_SIZE
from mobilesam.data.checksums import photo_checksum
from mobilesam.data.photo import MALFORMED, PhotoRef, reason
from mobilesam.data.store_format import (
    HEADER,
    SKIPPED,
    SUFFIX,
    Embedding,
    checksum_name,
    parse_header,
    payload_start,
    record_name,
    scale_name,
)
from mobilesam.errors import DataError
from mobilesam.settings import fits
from mobilesam.text import parse_json


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
                if len(self.members) < len(archive.infolist()):
                    raise DataError("two records have one name")
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # outlives the file object
            header = bytes(self.payload(HEADER))
            self.skipped: dict[str, str] = parse_json(bytes(self.payload(SKIPPED)))
            if not fits(self.skipped, dict[str, str]):
                raise DataError(f"{SKIPPED} must give the reason for each skipped photo")
        except (OSError, zipfile.BadZipFile, NotImplementedError, *MALFORMED) as error:
            raise DataError(f"{path}: damaged, or no store of embeddings ({reason(error)})") from error
        self.header = parse_header(header, path)
        self.photos = {name.removesuffix(".0.npy") for name in self.members if name.endswith(".0.npy")}

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)  # a mapping cannot be pickled: each worker process maps the file itself

    def payload(self, name: str) -> memoryview:
        """Read the bytes of one zip member and check them.

        Raises:
            DataError: they are not what was written, or there is no such member.
        """
        if name not in self.members:
            raise DataError(f"{self.path}: there is no record '{name}'")
        member = self.members[name]
        start = payload_start(member)
        data = memoryview(self.map)[start : start + member.file_size]
        encoded = name.encode()  # names have no checksum, but are there twice
        if zlib.crc32(data) != member.CRC or self.map[start - len(encoded) : start] != encoded:
            raise DataError(
                f"{self.path}: record '{name}' is damaged (its checksum or its name differs); "
                "delete this file and run `mobilesam distill embed` again"
            )
        return data

    def read(self, photo: str, view: int = 0) -> Embedding:
        """The embedding (C, gh, gw) of one view.

        Raises:
            DataError: the record is damaged, of another shape than the header says, or missing.
        """
        name = record_name(photo, view)
        values = self._array(name, np.float16, np.int8)
        grid = self.header.image_size // PATCH_SIZE
        if values.ndim != 3 or values.shape[0] != self.header.embed_dim or max(values.shape[1:]) > grid:
            raise DataError(
                f"{self.path}: record '{name}' is damaged: its shape {values.shape} is not "
                f"({self.header.embed_dim}, up to {grid}, up to {grid})"
            )
        if values.dtype == np.int8:
            scale = self._array(scale_name(photo, view), np.float16)
            if scale.shape != values.shape[:1]:
                raise DataError(f"{self.path}: record '{name}' is damaged: {scale.shape} scales for {values.shape}")
            return values.astype(np.float32) * scale.astype(np.float32)[:, None, None]
        return values.astype(np.float32)

    def _array(self, name: str, *dtypes: type[np.generic]) -> NDArray[Any]:
        try:
            return parse_npy(self.payload(name), *dtypes)
        except DataError as error:
            raise DataError(f"{self.path}: record '{name}' is damaged: {error}") from error

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
                f"photo '{photo}' has changed since {self.path} was written; delete that run's folder and run "
                "`mobilesam distill embed` again"
            )

    def differs(self, photo: str, encoded: bytes) -> bool:
        """Whether a photo's file is known to differ from the one that was embedded."""
        name = checksum_name(photo)
        return name in self.members and bytes(self.payload(name)) != photo_checksum(encoded).encode()

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
    """Find the stores of a folder and its subfolders.

    Raises:
        DataError: there is none.
    """
    files = sorted(path for path in folder.rglob(f"*{SUFFIX}") if not path.name.startswith("."))
    if not files:
        raise DataError(f"{folder}: no store of embeddings; write it with `mobilesam distill embed RECIPE -o {folder}`")
    return files
