"""Writing files so that a kill at any moment leaves either the old file or the new one."""

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
    """A temporary path beside `path` that takes its place when the block ends well.

    The temporary name keeps the suffix, because writers choose a format by it.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        # Not by tempfile, whose files are private: the result shall have the permissions of any new file, and the umask
        # that decides them can only be asked for by changing it, under the feet of other threads.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise OSError(f"cannot write '{path}': folder '{path.parent}': {error.strerror}") from error
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def to_picture(picture: Image | NDArray[np.generic]) -> Image:
    """A PIL image, or an array (H, W) or (H, W, 3), as a PIL image; a Boolean array as 255 and 0."""
    from PIL import Image  # here, because not everything that writes files has pictures

    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(picture.astype("uint8") * 255 if picture.dtype == bool else picture)


def save_picture(picture: Image | NDArray[np.generic], path: str | os.PathLike[str], *, quality: int = 90) -> Path:
    """Write a picture, in the format that its name asks for, through a temporary name.

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
    """Write a record as JSON on one line, through a temporary name; returns the path.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    with replacing(path) as partial:
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return path
