"""Photos: opening anything that is one, resizing as SAM does, and moving points between the two frames.

Frames: a photo has `original_hw`; the network sees it resized to `input_hw`, the long side at the model's
`image_size`. The half-pixel rule lives here alone: a coordinate (x, y) names the pixel whose centre is at
(x + 0.5, y + 0.5); scaling multiplies the coordinate, and the prompt encoder adds the half. That is the
reference's rule, kept so that our masks are its masks.
"""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam import pixels, tones
from mobilesam.encoded import (
    MAX_PIXELS,
    SUFFIXES,
    Source,
    check_size,
    exif_orientation,
    explained,
    is_photo_name,
    opened,
    tiff_orientation,
)
from mobilesam.errors import ImageError

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Frame",
    "PhotoLike",
    "Rgb",
    "is_photo_name",
    "open_photo",
    "open_stored",
    "read_header",
]

Rgb: TypeAlias = NDArray[np.uint8]
"""(H, W, 3)"""
PhotoLike: TypeAlias = Source | Image.Image | NDArray[np.generic]
Frame: TypeAlias = Literal["stored", "upright"]
"""The pixels as the file stores them, or turned as its EXIF orientation says."""


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
            what the file or its values say, see `mobilesam.tones`. 8-bit photos are never scaled.

    Returns:
        (H, W, 3) uint8, turned as its EXIF orientation says.

    Raises:
        ImageError: it is missing, damaged, too large, of an unknown format, or an array of another shape or type.
        SettingsError: `value_range` is not two numbers, the lower first.
    """
    rgb, orientation = open_stored(photo, max_pixels=max_pixels, max_side=max_side, value_range=value_range)
    return pixels.turn(rgb, orientation)


def open_stored(
    photo: PhotoLike,
    *,
    what: str = "",
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> tuple[Rgb, int]:
    """Open a photo without turning it: its stored pixels, and its EXIF orientation (1-8) for `pixels.turn`.

    Args and errors are those of `open_photo`; `what` is how messages call the photo.
    """
    value_range = None if value_range is None else tones.check_range(value_range)
    if isinstance(photo, np.ndarray):
        return pixels.from_array(photo, what or "the array", value_range, max_pixels), 1
    if isinstance(photo, Image.Image):
        what = what or "the image"
        with explained(what):
            check_size(photo.size, what, max_pixels)
            photo.load()
            found = pixels.read(photo, what, value_range, tones.from_file(photo))
            return pixels.in_colour(found), exif_orientation(photo)
    if isinstance(photo, str) and "://" in photo:
        raise ImageError(f"'{photo}' is an address; download the photo first and give its path or its bytes")
    what = what or _name(photo)
    with opened(photo, what, max_pixels) as image:
        if max_side is not None:
            ratio = min(1, max_side / max(image.size))
            image.draft(None, (round(image.width * ratio), round(image.height * ratio)))
        is_deep = pixels.is_deep_colour(image)
        found, orientation = pixels.decode(image, what, value_range)
    if is_deep and (value_range is not None or found.max() <= tones.LARGEST_OF_14_BITS >> 8):
        with opened(photo, what, max_pixels) as image:
            deep = pixels.read_deep_colour(image, what, value_range)
        found = found if deep is None or deep.shape != found.shape else deep
    return pixels.in_colour(found), orientation


def read_header(source: Source, what: str = "", max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], int]:
    """Size (height, width) of the stored pixels, and the EXIF orientation (1-8); a PNG is decoded for the latter.

    Raises:
        ImageError: it is missing, damaged, too large or of an unknown format.
    """
    with opened(source, what or _name(source), max_pixels) as image:
        turned = tiff_orientation(image)
        size = image.size[::-1] if turned in pixels.SIDEWAYS else image.size
        return (size[1], size[0]), turned if image.format == "TIFF" else exif_orientation(image)


def _name(source: Source) -> str:
    """How messages call a photo."""
    return "the bytes" if isinstance(source, bytes | bytearray | memoryview) else f"'{os.fspath(source)}'"


def input_size(original_hw: tuple[int, int], image_size: int) -> tuple[int, int]:
    """(height, width) after the long side is scaled to `image_size`, rounded as the reference rounds."""
    scale = image_size / max(original_hw)
    h, w = (max(1, int(side * scale + 0.5)) for side in original_hw)
    return h, w


def resize_long_side(rgb: Rgb, image_size: int) -> Rgb:
    """Resize with Pillow's bilinear filter, which averages when shrinking, as the reference does."""
    h, w = input_size((rgb.shape[0], rgb.shape[1]), image_size)
    return np.array(Image.fromarray(rgb).resize((w, h), Image.Resampling.BILINEAR))


def to_input(rgb: Rgb, image_size: int) -> NDArray[np.float32]:
    """Photo → what the encoder takes: (1, 3, H, W) float32 0-255, long side at `image_size`."""
    resized = resize_long_side(rgb, image_size)
    return np.ascontiguousarray(resized.transpose(2, 0, 1)[None], dtype=np.float32)


def scale_points(
    points_xy: NDArray[np.float32], original_hw: tuple[int, int], input_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """(..., 2) points of the photo → points of the resized photo."""
    scale = np.array([input_hw[1] / original_hw[1], input_hw[0] / original_hw[0]])
    return (points_xy * scale).astype(np.float32)
