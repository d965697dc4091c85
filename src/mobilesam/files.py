"""Atomic writing of files: a killed process leaves either the old file or the complete new one."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam.errors import ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    The temporary name keeps the suffix, because writers choose a format by it.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        # Not by tempfile, which makes files private: the result should have the permissions of any new file. Those
        # depend on the umask, which cannot be read without changing it for a moment, for all threads.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise OSError(f"cannot write '{path}': folder '{path.parent}': {error.strerror}") from error
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def to_picture(picture: Image | NDArray[np.generic]) -> Image:
    """Convert an array (H, W) or (H, W, 3) to a PIL image; Boolean arrays become 255 and 0."""
    from PIL import Image  # imported here, because most code that writes files has no pictures

    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(picture.astype("uint8") * 255 if picture.dtype == bool else picture)


def save_picture(picture: Image | NDArray[np.generic], path: str | os.PathLike[str], *, quality: int = 90) -> Path:
    """Save a picture atomically, in the format of its file name's suffix.

    Args:
        picture: a PIL image, or an array (H, W) or (H, W, 3); a Boolean one is written as 255 and 0.
        path: the file.
        quality: of JPEG and WebP, 1-95.

    Returns:
        The path.

    Raises:
        ImageError: the format is unknown or cannot hold this picture.
        OSError: the file cannot be written.
    """
    path, picture = Path(path), to_picture(picture)
    options: dict[str, Any] = {"quality": quality} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
    with replacing(path) as partial:
        try:
            picture.save(partial, **options)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a full disk, not a format
            raise ImageError(f"cannot write '{path}' as '{path.suffix}' ({error}); use .png") from error
    return path


def save_json(record: Any, path: str | os.PathLike[str]) -> Path:
    """Save a record atomically as JSON on one line; returns the path.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    with replacing(path) as partial:
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return path
