"""Writes a store of embeddings record by record, so that a killed writer can continue."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mobilesam.data.store_format import (
    EPOCH,
    HEADER,
    SIGNATURE,
    SKIPPED,
    Embedding,
    StoreHeader,
    checksum_name,
    end_of,
    parse_header,
    read_payload,
    record_name,
    scale_name,
    scan,
    to_npy,
    unmixed,
)
from mobilesam.errors import DataError, OutputError


class StoreWriter:
    """Writer of an unfinished store, which continues where a killed writer stopped.

    Args:
        path: the finished file's name.
        header: what is going to be in it.

    Raises:
        DataError: what is there was begun with another header.
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.header = header
        # Unbuffered: every write reaches the system at once, so that closing the file on a full disk cannot fail.
        self.file = open(self.partial, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self.members: list[zipfile.ZipInfo] = []
        try:
            self.recover()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def recover(self) -> None:
        """Keep the complete records of a file whose writer was killed, and truncate the rest."""
        self.members = list(unmixed(scan(self.file)))
        self.file.seek(0)
        begin = self.file.read(len(SIGNATURE))
        if not self.members and not SIGNATURE.startswith(begin):  # not even the beginning of a first record
            raise OutputError(f"{self.partial} was not written by mobilesam; move it, or choose another folder")
        while self.members and self.members[-1].filename.endswith((".scale.npy", ".crc32")):
            self.members.pop()  # scales and checksums whose record was not written any more
        if self.members and self.members[-1].filename == SKIPPED:
            self.members.pop()  # the writer was killed while finishing; the last member is written again
        self.names = {member.filename for member in self.members}
        end = end_of(self.members[-1]) if self.members else 0
        self.file.truncate(end)
        if not self.members:
            self.write(HEADER, json.dumps(asdict(self.header), indent=1).encode())
            return
        begun = parse_header(read_payload(self.file, self.members[0]), self.partial)
        if different := self.header.differences(begun):
            raise DataError(f"{self.partial} has other settings ({different}); delete it, or choose another folder")

    def __contains__(self, photo_view: tuple[str, int]) -> bool:
        return record_name(*photo_view) in self.names

    def add(self, photo: str, view: int, embedding: Embedding, checksum: str = "") -> None:
        """Store one embedding.

        Args:
            photo: its path in its data set.
            view: 0 for the whole photo.
            embedding: (C, gh, gw).
            checksum: `photo_checksum` of the photo's file, kept with view 0; empty for none.

        Raises:
            DataError: the embedding holds NaN or infinity, or the disk is full; what was stored stays.
        """
        if not np.isfinite(embedding).all():
            raise DataError(f"photo '{photo}': the teacher's embedding is not finite; run it in 32-true")
        if checksum and view == 0:
            self.write(checksum_name(photo), checksum.encode())
        if self.header.dtype == "int8":
            scale = np.maximum(np.abs(embedding).max(axis=(1, 2)) / 127, 1e-6).astype(np.float16)
            codes = np.rint(embedding / scale.astype(np.float32)[:, None, None]).clip(-127, 127).astype(np.int8)
            self.write(scale_name(photo, view), to_npy(scale))
            self.write(record_name(photo, view), to_npy(codes))
        else:
            self.write(record_name(photo, view), to_npy(embedding.astype(np.float16)))

    def write(self, name: str, data: bytes) -> None:
        """Append one zip member."""
        member = zipfile.ZipInfo(name, EPOCH)
        member.CRC = zlib.crc32(data)
        member.compress_size = member.file_size = len(data)
        try:
            member.header_offset = self.file.seek(0, os.SEEK_END)
            rest = memoryview(member.FileHeader() + data)
            while rest:  # a nearly full disk accepts a part, then fails
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            raise DataError(
                f"{self.partial}: {error.strerror}; {len(self.members)} records are kept. "
                "Make room and run the same command again"
            ) from error
        self.members.append(member)
        self.names.add(name)

    def finish(self, skipped: dict[str, str]) -> Path:
        """Close the zip and give it its name.

        Args:
            skipped: photos of the shard that have no embedding, and why.

        Raises:
            DataError: the disk is full.
        """
        self.write(SKIPPED, json.dumps(skipped, indent=1, sort_keys=True).encode())
        self.file.close()
        try:
            with open(self.partial, "r+b") as file:
                file.seek(0, os.SEEK_END)
                with zipfile.ZipFile(file, "w") as archive:  # appends its directory to the members that are there
                    archive.filelist = self.members
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"{self.partial}: {error.strerror}; make room and run the same command again") from error
        os.replace(self.partial, self.path)
        return self.path
