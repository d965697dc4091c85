"""Photos: opening them in any supported form, resizing them as SAM does, and scaling points accordingly.

Frames: a photo has `original_hw`; the network sees it resized to `input_hw`, the long side at the model's
`image_size`. The half-pixel rule lives here alone: a coordinate (x, y) names the pixel whose centre is at
(x + 0.5, y + 0.5); scaling multiplies the coordinate, and the prompt encoder adds the half. That is the
reference's rule, kept so that our masks are its masks.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam.choices import Frame
from mobilesam.contract import PIXEL_MEAN
from mobilesam.errors import ImageError, first_line
from mobilesam.folders import files_below
from mobilesam.opening import deep_colour, pixels, tones
from mobilesam.opening.encoded import (
    MAX_PIXELS,
    SUFFIXES,
    Source,
    check_pixels,
    exif_orientation,
    explained,
    is_photo_name,
    opened,
    tiff_orientation,
)
from mobilesam.outputs import is_picture_of_ours

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Frame",
    "PhotoLike",
    "Rgb",
    "find_photos",
    "is_photo_name",
    "locate_photos",
    "open_photo",
    "open_stored",
    "read_header",
]

Rgb: TypeAlias = NDArray[np.uint8]
"""(H, W, 3)"""
PhotoLike: TypeAlias = Source | Image.Image | NDArray[np.generic]


def open_photo(
    photo: PhotoLike,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> Rgb:
    """Open a photo as upright 8-bit RGB.

    Args:
        photo: a path, the bytes of a file, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or
            (H, W, 4) RGBA, of numbers of any type. Transparency is laid on white.
        max_pixels: a photo whose width times height is more is refused before it takes memory.
        max_side: the longest side that is needed, in pixels. A JPEG may then be decoded at a half, a quarter or an
            eighth of its size, which is faster and takes less memory, but never with a longer side below this.
        value_range: the values of black and white of photos with more than 8 bits and in floating point; by default
            what the file or its values say, see `mobilesam.opening.tones`. 8-bit photos are never scaled.

    Returns:
        (H, W, 3) uint8, turned as its EXIF orientation says.

    Raises:
        ImageError: it is missing, damaged, too large, of an unknown format, or an array of another shape or type.
        SettingsError: `value_range` is not two numbers, the lower first.

    Examples:
        >>> from mobilesam.image import open_photo
        >>> photo = open_photo("examples/chelsea.png")
        >>> photo.shape, photo.dtype
        ((300, 451, 3), dtype('uint8'))
    """
    rgb, orientation = open_stored(photo, max_pixels=max_pixels, max_side=max_side, value_range=value_range)
    return pixels.turn(rgb, orientation)


def open_stored(
    photo: PhotoLike | BinaryIO,
    *,
    what: str = "",
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> tuple[Rgb, int]:
    """Open a photo without applying its orientation: stored pixels, and EXIF orientation (1-8) for `pixels.turn`.

    Args and errors are those of `open_photo`; `what` is how messages call the photo, which may be an open file too.
    """
    value_range = None if value_range is None else tones.check_range(value_range)
    if isinstance(photo, np.ndarray):
        return pixels.from_array(photo, what or "the array", value_range, max_pixels), 1
    if isinstance(photo, Image.Image):
        what = what or "the image"
        with explained(what):
            check_pixels(photo.size, what, max_pixels)
            photo.load()
            found = pixels.read(photo, what, value_range, tones.from_file(photo))
            return pixels.in_colour(found), exif_orientation(photo)
    if isinstance(photo, str) and "://" in photo:
        raise ImageError(f"'{photo}' is an address; download the photo first and give its path or its bytes")
    if not isinstance(photo, str | os.PathLike | bytes | bytearray | memoryview) and not hasattr(photo, "seek"):
        raise ImageError(f"a photo is a path, bytes, a PIL image or an array, not {type(photo).__name__}")
    what = what or _name(photo)
    with opened(photo, what, max_pixels) as image:
        if max_side is not None:
            ratio = min(1, max_side / max(image.size))
            image.draft(None, (round(image.width * ratio), round(image.height * ratio)))
        is_deep, kind = deep_colour.is_deep_colour(image), (image.mode, image.format)
        if value_range is not None and deep_colour.ignores_range(image):
            tones.tell_no_effect(what)
        found, orientation = pixels.decode(image, what, value_range)
    if is_deep:
        opener = partial(opened, photo, what, max_pixels)
        found = deep_colour.refine(opener, found, kind, what, value_range, max_pixels)
    return pixels.in_colour(found), orientation


def read_header(source: Source | BinaryIO, what: str = "", max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], int]:
    """Size (height, width) of the stored pixels, and the EXIF orientation (1-8), without decoding where that is not
    needed (a PNG with EXIF or texts behind its pixels is decoded).

    Raises:
        ImageError: it is missing, damaged, too large or of an unknown format.
    """
    with opened(source, what or _name(source), max_pixels) as image:
        width, height = pixels.stored_size(image)
        return (height, width), tiff_orientation(image) if image.format == "TIFF" else exif_orientation(image)


@contextmanager
def within_memory(what: str) -> Iterator[None]:
    """Turn the exceptions that a large photo raises anywhere in its processing into an `ImageError` that names it.

    Loops over photos use it, so that a photo for which memory runs out, or that is larger than OpenCV takes, does not
    stop the others.
    """
    try:
        yield
    except MemoryError:
        raise ImageError(f"{what} needs more memory than there is; make it smaller") from None
    except cv2.error as error:
        raise ImageError(f"{what} is too large for OpenCV or for the memory ({first_line(error)})") from error


def _name(source: Source | BinaryIO) -> str:
    """The name of a photo in messages."""
    return f"'{os.fspath(source)}'" if isinstance(source, str | os.PathLike) else "the photo"


def find_photos(photos: Iterable[str | os.PathLike[str]], *, recursive: bool = False) -> Iterator[Path | str]:
    """Find photos as `locate_photos` does, without their subfolders."""
    return (path for path, _ in locate_photos(photos, recursive=recursive))


def locate_photos(
    photos: Iterable[str | os.PathLike[str]], *, recursive: bool = False
) -> Iterator[tuple[Path | str, str]]:
    """Find photos: folders and patterns are replaced by the photos in them, sorted; other paths stay unchanged.

    So a missing file gets its own error where it is opened, and an address is refused there. Hidden files in folders
    and patterns are no photos, nor are pictures that this package wrote, such as the masks of an earlier run.

    Args:
        photos: folders, patterns and photos.
        recursive: search folders inside folders too, and those that links lead to, but no hidden ones.

    Yields:
        Each photo, and the subfolder that it was found in, relative to the folder given, with slashes; "" for none.

    Raises:
        ImageError: a folder or a pattern holds no photos, or a path is empty.
    """
    for photo in photos:
        text, path = os.fspath(photo), Path(photo)
        if not text.strip():
            raise ImageError("the path of a photo is empty (a variable that is not set?); give a photo or a folder")
        if "://" in text:
            yield text, ""
        elif path.is_dir() or (glob.has_magic(text) and not path.exists()):
            is_folder = path.is_dir()
            if is_folder:
                named = files_below(path, is_photo_name, recursive=recursive)
            else:
                named = sorted(p for p in map(Path, glob.glob(text, recursive=True)) if is_photo_name(p.name))
            inside = [p for p in named if not is_picture_of_ours(p)]
            if not inside:
                ours = f"; {len(named)} results of mobilesam are left out, name them to use them" if named else ""
                raise ImageError(f"'{path}' holds no photos ({', '.join(sorted(SUFFIXES))}){ours}")
            for one in inside:
                subfolder = one.parent.relative_to(path).as_posix() if is_folder else ""
                yield one, "" if subfolder == "." else subfolder
        else:
            yield path, ""


def input_size(original_hw: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Size (height, width) of a photo resized to the long side `image_size`, rounded as in segment-anything."""
    scale = image_size / max(original_hw)
    h, w = (max(1, int(side * scale + 0.5)) for side in original_hw)
    return h, w


def resize_long_side(rgb: Rgb, image_size: int) -> Rgb:
    """Resize with Pillow's bilinear filter, which averages when shrinking, as segment-anything does."""
    h, w = input_size((rgb.shape[0], rgb.shape[1]), image_size)
    return np.array(Image.fromarray(rgb).resize((w, h), Image.Resampling.BILINEAR))


def to_input(rgb: Rgb, image_size: int) -> NDArray[np.float32]:
    """Convert a photo to the encoder's input: (1, 3, H, W) float32 0-255, with the long side at `image_size`."""
    resized = resize_long_side(rgb, image_size)
    return np.ascontiguousarray(resized.transpose(2, 0, 1)[None], dtype=np.float32)


def to_square(rgb: Rgb, image_size: int) -> NDArray[np.float32]:
    """Resize and pad a photo or a region to (1, 3, S, S) float32 0-255; the padding is the mean colour.

    Pictures of any shape then fit into one batch. The mean colour normalises to zero, the encoder's own padding.
    """
    return pad_to_square(to_input(rgb, image_size)[0])


def pad_to_square(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad an encoder's input (3, h, w) with the mean colour to (1, 3, S, S), where S is its longer side."""
    side = max(image.shape[1:])
    square = np.empty((1, 3, side, side), np.float32)
    square[:] = np.array(PIXEL_MEAN, np.float32)[:, None, None]
    square[0, :, : image.shape[1], : image.shape[2]] = image
    return square


def scale_points(
    points_xy: NDArray[np.float32], original_hw: tuple[int, int], input_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Scale (..., 2) points from the photo to the resized photo."""
    scale = np.array([input_hw[1] / original_hw[1], input_hw[0] / original_hw[0]])
    return (points_xy * scale).astype(np.float32)
