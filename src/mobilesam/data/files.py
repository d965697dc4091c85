"""Bytes on disk that have not been read yet."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileRef:
    """A file, or one member of an uncompressed tar."""

    path: str
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
        status = Path(self.path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"'{self.path}' is not a file")
        return status.st_size

    def read(self) -> bytes:
        """All bytes."""
        return self.read_end(self.num_bytes)

    def read_end(self, count: int) -> bytes:
        """The last `count` bytes."""
        size = self.num_bytes
        offset = 0 if self.member is None else self.member[0]
        with open(self.path, "rb") as file:
            file.seek(offset + max(0, size - count))
            return file.read(min(count, size))
