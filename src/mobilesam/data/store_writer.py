"""Writes a store of embeddings, record by record."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mobilesam.data.store_format import (
    EPOCH,
    HEADER,
    SKIPPED,
    Embedding,
    StoreHeader,
    checksum_name,
    record_name,
    scale_name,
    to_npy,
)
from mobilesam.errors import DataError


class StoreWriter:
    """Writer of a store, whose file is complete only after `finish`; write under a temporary name (`files.replacing`).

    Args:
        path: the file; replaced.
        header: what is going to be in it.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self.path, self.header = path, header
        self.members: list[zipfile.ZipInfo] = []
        # Unbuffered: every write reaches the system at once, so that closing the file on a full disk cannot fail.
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by __exit__
        self._write(HEADER, header.to_json())

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, photo: str, view: int, embedding: Embedding, checksum: str = "") -> None:
        """Store one embedding.

        Args:
            photo: its path in its data set.
            view: 0 for the whole photo.
            embedding: (C, gh, gw).
            checksum: `photo_checksum` of the photo's file, kept with view 0; empty for none.

        Raises:
            DataError: the embedding holds NaN or infinity; nothing of it is stored.
            OSError: the disk is full.
        """
        if not np.isfinite(embedding).all():
            raise DataError(f"photo '{photo}': the teacher's embedding is not finite; run it in 32-true")
        if checksum and view == 0:
            self._write(checksum_name(photo), checksum.encode())
        if self.header.dtype == "int8":
            scale = np.maximum(np.abs(embedding).max(axis=(1, 2)) / 127, 1e-6).astype(np.float16)
            codes = np.rint(embedding / scale.astype(np.float32)[:, None, None]).clip(-127, 127).astype(np.int8)
            self._write(scale_name(photo, view), to_npy(scale))
            self._write(record_name(photo, view), to_npy(codes))
        else:
            self._write(record_name(photo, view), to_npy(embedding.astype(np.float16)))

    def _write(self, name: str, data: bytes) -> None:
        """Append one zip member."""
        member = zipfile.ZipInfo(name, EPOCH)
        member.CRC = zlib.crc32(data)
        member.compress_size = member.file_size = len(data)
        member.header_offset = self.file.tell()
        rest = memoryview(member.FileHeader() + data)
        while rest:  # a nearly full disk accepts a part, then fails
            rest = rest[self.file.write(rest) :]
        self.members.append(member)

    def finish(self, skipped: dict[str, str]) -> Path:
        """Complete the store; returns its path.

        Args:
            skipped: photos of the shard that have no embedding, and why.

        Raises:
            OSError: the disk is full.
        """
        self._write(SKIPPED, json.dumps(skipped, indent=1, sort_keys=True).encode())
        self.file.close()
        with open(self.path, "r+b") as file:
            file.seek(0, os.SEEK_END)
            with zipfile.ZipFile(file, "w") as archive:  # appends its directory to the members that are there
                archive.filelist = self.members
            file.flush()
            os.fsync(file.fileno())
        return self.path
