"""Helpers for safe downloads: a size limit."""

from __future__ import annotations

from typing import IO

from mobilesam.errors import DownloadError


class Bounded:
    """A writable file that refuses more than a given number of bytes.

    Args:
        file: gets the bytes.
        num_bytes: how many are known to come; 0 when that is not known.
    """

    def __init__(self, file: IO[bytes], num_bytes: int) -> None:
        self._file, self._num_bytes, self._count = file, num_bytes, 0

    def write(self, data: bytes) -> int:
        """Append bytes.

        Raises:
            DownloadError: more come than were known to.
        """
        self._count += len(data)
        if self._num_bytes and self._count > self._num_bytes:
            raise DownloadError(f"the server sends more than the {self._num_bytes:,} bytes of the published file")
        return self._file.write(data)

    def flush(self) -> None:
        """Flush written bytes to the operating system."""
        self._file.flush()
