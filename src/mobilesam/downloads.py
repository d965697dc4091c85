"""Helpers for safe downloads: a size limit, and removal of temporary files that killed processes left."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from mobilesam.errors import DownloadError

if sys.platform != "win32":
    import fcntl


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


def hold(file: IO[bytes]) -> None:
    """Lock a file while this process writes it; the lock ends with the process. Windows locks open files by itself."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks: `sweep` removes nothing there either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(target: Path) -> None:
    """Remove temporary files beside a download's target that killed processes left and no process is writing."""
    form = re.compile(rf"\.{re.escape(target.stem)}-[0-9a-f]{{16}}{re.escape(target.suffix)}")
    for name in os.listdir(target.parent):
        if form.fullmatch(name):
            with suppress(OSError):  # another process is writing it, or has just renamed it
                _remove_unless_held(target.parent / name)


def _remove_unless_held(path: Path) -> None:
    if sys.platform == "win32":
        path.unlink()  # refused while it is open
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
