"""Atomic writing of files: a killed process leaves either the old file or the complete new one.

Nothing of somebody else is replaced; see `mobilesam.outputs`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam import temporaries
from mobilesam.errors import ImageError
from mobilesam.outputs import ALL, DEFAULT, MARK, Outputs, marked, note
from mobilesam.text import encodable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Numbers of errors that end the writing of an open file."""
SOURCE = "Photo"
"""Name of the text in a PNG file that says which photo it was made of."""


@contextmanager
def replacing(path: str | os.PathLike[str], outputs: Outputs = DEFAULT) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    The temporary name keeps the suffix, because writers choose a format by it.

    Args:
        path: the file.
        outputs: the rule for what may be replaced; by default only files that this package wrote.

    Raises:
        OutputError: another's file is there.
        OSError: the folder does not exist or cannot be written, or the disk is full; names the file.
    """
    path = Path(path)
    outputs.check(path)
    temporaries.sweep(path.parent, again=False)
    with _naming(path), temporaries.file_for(path) as partial:
        yield partial
        outputs.check(path)  # again: writing may have taken long
        if outputs is not ALL:  # which needs no journal, since nothing is asked of it
            note(path, partial)
        os.replace(partial, path)


def make_folder(path: Path) -> None:
    """Make a folder for results, with the folders around it, where it is missing.

    Raises:
        FileExistsError, NotADirectoryError: a file is there, or in its way.
        OSError: it cannot be made; names it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise
    except OSError as error:
        raise type(error)(f"cannot make the folder '{path}': {error.strerror}; give another --output") from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in errors of a full disk, which tell nothing but that it is full; `errno` stays."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL or error.filename is not None or error.strerror is None:  # None: named already
            raise
        named = OSError(f"cannot write '{path}': {error.strerror}")
        named.errno = error.errno
        raise named from error


def to_picture(picture: Image | NDArray[np.generic]) -> Image:
    """Convert an array (H, W) or (H, W, 3) to a PIL image; Boolean arrays become 255 and 0."""
    from PIL import Image  # imported here, because most code that writes files has no pictures

    if isinstance(picture, Image.Image):
        return picture
    return Image.fromarray(picture.astype("uint8") * 255 if picture.dtype == bool else picture)


def save_picture(
    picture: Image | NDArray[np.generic],
    path: str | os.PathLike[str],
    *,
    quality: int = 90,
    outputs: Outputs = DEFAULT,
    source: str = "",
) -> Path:
    """Save a picture atomically, in the format of its file name's suffix.

    Args:
        picture: a PIL image, or an array (H, W) or (H, W, 3); a Boolean one is written as 255 and 0.
        path: the file.
        quality: of JPEG and WebP, 1-95.
        outputs: the rule for what may be replaced.
        source: the photo that it was made of, which a PNG file notes for `read_source`.

    Returns:
        The path.

    Raises:
        ImageError: the format is unknown or cannot hold this picture.
        OutputError: another's file is there.
        OSError: the file cannot be written.
    """
    path, picture = Path(path), to_picture(picture)
    options = mark_picture(picture, path.suffix.lower(), source)
    if path.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        options["quality"] = quality
    with replacing(path, outputs) as partial:
        try:
            picture.save(partial, **options)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a full disk, not a format
            raise ImageError(f"cannot write '{path}' as '{path.suffix}' ({error}); use .png") from error
    return path


def mark_picture(picture: Image, suffix: str, source: str = "") -> dict[str, Any]:
    """Arguments of `Image.save` that write our mark into a picture, where its format has a place for it."""
    from PIL.Image import Exif
    from PIL.PngImagePlugin import PngInfo

    if suffix == ".png":
        texts = PngInfo()
        texts.add_text("Software", MARK)
        if source:
            texts.add_itxt(SOURCE, source)
        return {"pnginfo": texts}
    if suffix in (".jpg", ".jpeg"):
        return {"comment": MARK}
    if suffix in (".tif", ".tiff"):
        return {"software": MARK}
    if suffix == ".webp":
        exif = Exif()
        exif[0x0131] = MARK
        return {"exif": exif}
    return {}


def read_source(path: str | os.PathLike[str]) -> str:
    """The photo that a PNG file of `save_picture` was made of; "" where it notes none, or cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return str(picture.info.get(SOURCE, ""))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return ""


def save_text(text: str, path: str | os.PathLike[str], outputs: Outputs = DEFAULT) -> Path:
    """Save a text atomically in UTF-8; returns the path. Errors are those of `save_json`.

    Bytes of a file name that are not UTF-8 become `\\udcff`, so that every reader of text opens the file.
    """
    path = Path(path)
    with replacing(path, outputs) as partial:
        partial.write_text(encodable(text), encoding="utf-8")
    return path


def save_json(
    record: Any, path: str | os.PathLike[str], outputs: Outputs = DEFAULT, *, indent: int | None = None
) -> Path:
    """Save a record atomically as JSON, on one line unless `indent` is given; returns the path.

    An object gets our mark as its first entry.

    Raises:
        OutputError: another's file is there.
        OSError: the file cannot be written.
    """
    return save_text(json.dumps(marked(record), indent=indent) + "\n", path, outputs)
