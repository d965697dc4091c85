"""Photos: opening anything that is one, resizing as SAM does, and moving points between the two frames.

Frames: a photo has `original_hw`; the network sees it resized to `input_hw`, the long side at the model's
`image_size`. The half-pixel rule lives here alone: a coordinate (x, y) names the pixel whose centre is at
(x + 0.5, y + 0.5); scaling multiplies the coordinate, and the prompt encoder adds the half. That is the
reference's rule, kept so that our masks are its masks.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mobilesam.errors import ImageError

Rgb: TypeAlias = NDArray[np.uint8]
"""(H, W, 3)"""
PhotoLike: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.generic]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""What counts as a photo when a folder is searched."""


def open_photo(photo: PhotoLike) -> Rgb:
    """Open a photo as upright 8-bit RGB.

    Args:
        photo: a path, the bytes of a file, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 3) RGB or
            (H, W, 4) RGBA; uint8, uint16, or floating point in 0-1. Transparency is laid on white.

    Returns:
        (H, W, 3) uint8, turned as its EXIF orientation says.

    Raises:
        ImageError: it is missing, damaged, of an unknown format, or an array of another shape or type.
    """
    if isinstance(photo, np.ndarray):
        return _from_array(photo)
    if isinstance(photo, Image.Image):
        return _from_pil(photo, "the image")
    if isinstance(photo, bytes):
        return _from_file(io.BytesIO(photo), photo[:16], "the bytes")
    text = os.fspath(photo)
    if "://" in text:
        raise ImageError(f"'{text}' is an address; download the photo first and give its path or its bytes")
    path = Path(text)
    if path.is_dir():
        raise ImageError(f"'{path}' is a folder; give a photo")
    try:
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            return _from_file(file, head, f"'{path}'")
    except FileNotFoundError:
        raise ImageError(f"'{path}' does not exist") from None
    except PermissionError:
        raise ImageError(f"'{path}' may not be read (permission denied)") from None


def find_photos(photos: Iterable[str | os.PathLike[str]]) -> Iterator[Path | str]:
    """Paths → photos: folders and patterns become what they hold, sorted; everything else stays as it is.

    So a missing file gets its own error where it is opened, and an address is refused there.

    Raises:
        ImageError: a folder or a pattern holds no photos.
    """
    for photo in photos:
        text, path = os.fspath(photo), Path(photo)
        if "://" in text:
            yield text
        elif path.is_dir() or (glob.has_magic(text) and not path.exists()):
            found = path.iterdir() if path.is_dir() else (Path(p) for p in glob.glob(text, recursive=True))
            inside = sorted(p for p in found if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise ImageError(f"'{path}' holds no photos ({', '.join(sorted(SUFFIXES))})")
            yield from inside
        else:
            yield path


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


def _from_file(file: BinaryIO, head: bytes, what: str) -> Rgb:
    try:
        with Image.open(file) as image:
            return _from_pil(image, what)
    except UnidentifiedImageError:
        if head[4:8] == b"ftyp":
            raise ImageError(
                f"{what} is HEIC or AVIF, which Pillow cannot read here; convert it to JPEG, "
                "or open it with pillow-heif and pass the PIL image"
            ) from None
        raise ImageError(f"{what} is not a photo in a known format (JPEG, PNG, WebP, TIFF, BMP, GIF)") from None
    except (OSError, SyntaxError) as error:  # some formats read more than their header when they are opened
        raise ImageError(f"{what} is damaged or truncated ({error})") from error


def _from_pil(image: Image.Image, what: str) -> Rgb:
    try:
        image = ImageOps.exif_transpose(image) or image
        if min(image.size) < 1:
            raise ImageError(f"{what} is empty")
        if image.mode.startswith(("I", "F")):
            return _from_array(_deep_pixels(image))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            return _on_white(np.asarray(image.convert("RGBA")))
        return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{what} has too many pixels ({error})") from None
    except (OSError, SyntaxError) as error:
        raise ImageError(f"{what} is damaged or truncated ({error})") from error


def _deep_pixels(image: Image.Image) -> NDArray[np.generic]:
    """Pixels of a 16-bit, 32-bit or floating-point image as uint16 or as floats in 0-1."""
    pixels = np.asarray(image)
    if image.mode == "F":
        return pixels if pixels.max(initial=0) <= 1 else pixels / np.float32(255)
    # Pillow opens some 16-bit files as 32-bit integers; a 32-bit file that never exceeds 255 holds 8 bits.
    if image.mode == "I" and pixels.max(initial=0) <= 255:
        return np.clip(pixels, 0, 255).astype(np.uint8)
    return np.clip(pixels, 0, 65535).astype(np.uint16)


def _from_array(array: NDArray[np.generic]) -> Rgb:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(f"an array must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    if array.dtype == np.uint16:
        array = np.round(array.astype(np.float32) / 257).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError("a floating-point array must lie in 0-1; for 0-255 convert it with .astype('uint8')")
        array = np.round(array.astype(np.float32) * 255).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise ImageError(f"an array must be uint8, uint16 or floating point in 0-1, not {array.dtype}")
    if array.shape[2] == 4:
        return _on_white(np.asarray(array, dtype=np.uint8))
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)), dtype=np.uint8)


def _on_white(rgba: NDArray[np.uint8]) -> Rgb:
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
