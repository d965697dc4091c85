"""References to bytes: a file, an object in a store, or a member of an uncompressed tar, read only on demand."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from mobilesam.ranges import RangeFile
from mobilesam.remote import is_remote, open_url, read_range, state_of


@dataclass(frozen=True)
class FileRef:
    """A file, or one member of an uncompressed tar."""

    path: str
    """On disk, or an address such as s3://bucket/key."""
    member: tuple[int, int] | None = None
    """(offset, size) in bytes inside `path`."""

    @property
    def num_bytes(self) -> int:
        """Size in bytes.

        Raises:
            OSError: it is missing, or a pipe or a device, which would be waited for without end.
        """
        if self.member is not None:
            return self.member[1]
        if is_remote(self.path):
            return state_of(self.path)[0]
        status = Path(self.path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"'{self.path}' is not a file")
        return status.st_size

    @property
    def listed_bytes(self) -> int:
        """Size in bytes by which a data set's listing knows the file; errors are those of `num_bytes`."""
        return self.num_bytes

    def read(self) -> bytes:
        """All bytes."""
        return self.read_end(self.num_bytes)

    def read_end(self, count: int) -> bytes:
        """The last `count` bytes."""
        size = self.num_bytes
        offset = 0 if self.member is None else self.member[0]
        start = offset + max(0, size - count)
        if is_remote(self.path):
            return read_range(self.path, start, offset + size)
        with open_file(self.path) as file:
            file.seek(start)
            return file.read(min(count, size))

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading in parts; for a member of a tar, only its own bytes."""
        size = self.num_bytes
        with open_file(self.path) as file:
            if self.member is None:
                yield file
                return
            offset = self.member[0]

            def fetch(start: int, end: int) -> bytes:
                file.seek(offset + start)
                return file.read(end - start)

            yield cast("BinaryIO", io.BufferedReader(RangeFile(fetch, size)))


def file_state(path: str) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds of a file or an object in a store.

    Raises:
        OSError: it is missing.
    """
    if is_remote(path):
        return state_of(path)
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


def open_file(path: str) -> BinaryIO:
    """Open a file on disk or an object in a store for reading.

    Raises:
        OSError: it is missing or cannot be read.
    """
    return open_url(path) if is_remote(path) else open(path, "rb")
