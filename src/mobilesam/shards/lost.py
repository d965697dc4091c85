"""Telling a lost store or folder from a lost photo: the one ends a run until it is there again, the other is an error.

An error of one photo tells of a lost store if
- the store does not answer, or has no such bucket;
- the store refuses the photo, and also each other photo that is tried: then its credentials are refused;
- the folder of the input is gone or empty, as a mount is that went away;
- the photo's own folder is, and no other photo that is tried can be read.
Anything else, such as one forbidden or missing photo among others, is that photo's own error.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId
from mobilesam.remote import StoreError, cause_of, is_lost, is_refusal, is_remote, read_range

OTHERS = 8  # other photos that are tried


def check_store(error: Exception, photo: PhotoId, path: str, others: Sequence[str]) -> None:
    """Raise an error that tells of a lost store; return if it is the photo's own.

    Args:
        error: what reading the photo raised.
        photo: which.
        path: of its file, or its address.
        others: paths and addresses of other photos of the run.

    Raises:
        OSError: the store or the folder is lost.
    """
    if is_lost(error):
        if not (is_refusal(error) and any_readable(path, others)):
            raise error
    elif is_absence(error) and not is_remote(path):
        root, folder = root_of(photo, path), Path(path).parent
        if root is not None and is_bare(root):
            raise StoreError(f"the folder '{root}' is gone or empty") from error
        if is_bare(folder) and not any_readable(path, others):
            raise StoreError(f"the folder '{folder}' is gone or empty") from error


def is_absence(error: BaseException | None) -> bool:
    """Whether an error comes from a file that is missing or must not be opened."""
    return cause_of(error, (FileNotFoundError, NotADirectoryError, PermissionError)) is not None


def root_of(photo: PhotoId, path: str) -> Path | None:
    """The folder that a photo's name is relative to; None where its path does not end with its name."""
    end = f"{os.sep}{photo.path}".replace("/", os.sep)
    return Path(path.removesuffix(end) or os.sep) if path.endswith(end) else None


def is_bare(folder: Path) -> bool:
    """Whether a folder is gone, empty or closed."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def any_readable(path: str, others: Sequence[str]) -> bool:
    """Whether another photo of the run can be read now; a few are tried, from all over the list."""
    different = [other for other in dict.fromkeys(others) if other != path]
    return any(map(is_readable, different[:: max(1, -(-len(different) // OTHERS))]))


def is_readable(path: str) -> bool:
    """Whether the first byte of a file or an object can be read."""
    try:
        if is_remote(path):
            return bool(read_range(path, 0, 1))
        with FileRef(path).open() as file:
            return bool(file.read(1))
    except OSError:
        return False
