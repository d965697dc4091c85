"""Temporary files and folders beside a result: their names, and removal of those that killed processes left.

`.mobilesam-HEX-NAME.png` is a file, `.mobilesam-HEX/` a folder. The process that writes one holds a lock on it, on the
file `lock` in a folder; the system frees the lock when the process ends, however it ends.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

MAX_BYTES = 255
"""Longest name of a file in bytes, on the file systems of Linux, macOS and Windows."""
LOCK_FILE = "lock"
_FORM = re.compile(r"\.mobilesam-[0-9a-f]{16}(-.*)?")
_swept: set[str] = set()
"""Folders that this process has searched."""


def name_for(name: str) -> str:
    """A new temporary name for a file `name`, with the same suffix, because writers choose a format by it."""
    stem, suffix = os.path.splitext(name)
    head = f".mobilesam-{secrets.token_hex(8)}-"
    return head + shorten(stem, MAX_BYTES - len(head) - len(os.fsencode(suffix))) + suffix


def shorten(text: str, num_bytes: int) -> str:
    """The beginning of a text that takes at most `num_bytes` bytes in a file name; no character is cut."""
    while len(os.fsencode(text)) > max(0, num_bytes):
        text = text[: min(len(text) - 1, max(0, num_bytes))]
    return text


def hold(file: IO[bytes] | int) -> None:
    """Lock an open file while this process writes it; Windows locks open files by itself."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks: `sweep` removes nothing there either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def file_for(path: Path) -> Iterator[Path]:
    """Create an empty temporary file beside `path`; it is removed at the end if it is still there.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    partial = path.with_name(name_for(path.name))
    try:
        # Not by tempfile, which makes files private: the result should have the permissions of any new file. Those
        # depend on the umask, which cannot be read without changing it for a moment, for all threads.
        handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:
        raise OSError(f"cannot write '{path}': folder '{path.parent}': {error.strerror}") from error
    if sys.platform == "win32":
        os.close(handle)  # an open file cannot be renamed there
    else:
        hold(handle)
        if not partial.exists():  # another process swept it between the two lines above
            os.close(handle)
            with file_for(path) as other:
                yield other
            return
    try:
        yield partial
    finally:
        if sys.platform != "win32":
            os.close(handle)
        partial.unlink(missing_ok=True)


@contextmanager
def folder_in(folder: Path) -> Iterator[Path]:
    """Create a temporary folder inside `folder`, for this user alone; it is removed with its contents at the end.

    Its file `lock` is held meanwhile; take no notice of it.
    """
    scratch = folder / f".mobilesam-{secrets.token_hex(8)}"
    scratch.mkdir(mode=0o700)
    try:
        with (scratch / LOCK_FILE).open("wb") as lock:
            hold(lock)
            inside = scratch / "files"
            inside.mkdir()
            yield inside
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def sweep(folder: Path, *, again: bool = True) -> None:
    """Remove temporary files and folders that killed processes left in `folder`; those in use stay.

    Args:
        folder: is not searched deeper; may be missing.
        again: search it even if this process has searched it before.
    """
    key = os.path.abspath(folder)
    if key in _swept and not again:
        return
    _swept.add(key)
    with suppress(OSError):
        for name in os.listdir(folder):
            if _FORM.fullmatch(name):
                with suppress(OSError):  # another process holds it, or has just renamed it
                    _remove_unless_held(folder / name)


def _remove_unless_held(path: Path) -> None:
    is_folder = path.is_dir() and not path.is_symlink()
    held = path / LOCK_FILE if is_folder else path
    if sys.platform == "win32":
        held.unlink()  # refused while it is open
    else:
        with held.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.unlink()
    if is_folder:
        shutil.rmtree(path, ignore_errors=True)
