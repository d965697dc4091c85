"""Decoding the formats for which Pillow takes more than 6 bytes per pixel by ways that take less.

Each reader gives the same pixels as Pillow, or None where Pillow has to decode the photo or to say what is wrong with
it. `python -m benchmarks.photo_memory` measures all formats, `mobilesam.opening.decoders` says what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from mobilesam.opening import netpbm
from mobilesam.opening.decoders import is_progressive, is_reduced, share_of_tile
from mobilesam.opening.tones import strips

Bytes: TypeAlias = NDArray[np.uint8]
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


def read_lean(image: ImageFile.ImageFile) -> Bytes | None:
    """Decode an opened photo: (H, W) or (H, W, 3) as stored; None where Pillow has to."""
    reader = READERS.get(image.format or "")
    return None if reader is None or image.fp is None else reader(image)


def read_webp(image: ImageFile.ImageFile) -> Bytes | None:
    """Decode a WebP by OpenCV: 6 bytes per pixel, where Pillow takes 16."""
    if image.mode not in ("RGB", "RGBA") or getattr(image, "is_animated", False):
        return None
    decoded = _by_opencv(image, cv2.IMREAD_UNCHANGED)
    return None if decoded is None else _packed(decoded)


def read_progressive(image: ImageFile.ImageFile) -> Bytes | None:
    """Decode a progressive JPEG by OpenCV, which uses the same library: 1 byte per pixel less."""
    if image.mode != "RGB" or not is_progressive(image) or is_reduced(image):
        return None
    return _by_opencv(image, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def read_jpeg2000(image: ImageFile.ImageFile) -> Bytes | None:
    """Decode a JPEG 2000 of one tile by OpenCV, which uses the same library: 15 bytes per pixel, where Pillow takes 19.

    Pillow needs less for a photo in tiles.
    """
    if image.mode not in CHANNELS or share_of_tile(image) < 1:
        return None
    decoded = _by_opencv(image, cv2.IMREAD_UNCHANGED)
    return decoded if decoded is None or decoded.ndim == 2 else _packed(decoded)


def read_avif(image: ImageFile.ImageFile) -> Bytes | None:
    """Take the bytes of Pillow's decoder without Pillow's own image of them, which takes 4 bytes per pixel more."""
    decoder: Any = getattr(image, "_decoder", None)  # a private part of Pillow, not vital
    if image.mode not in ("RGB", "RGBA") or not hasattr(decoder, "get_frame"):
        return None
    data: bytes = decoder.get_frame(0)[0]
    if len(data) != image.height * image.width * len(image.mode):
        return None
    image._decoder = decoder = None  # type: ignore[attr-defined]  # its planes go before the result is made
    return on_white_rows(np.frombuffer(data, np.uint8).reshape(image.height, image.width, -1))


def read_heif(image: ImageFile.ImageFile) -> Bytes | None:
    """Take the pixels of libheif where they lie, without Pillow's own image of them."""
    frames: Any = getattr(image, "_heif_file", None)  # a private part of pillow-heif, not vital
    if image.mode not in CHANNELS or frames is None:
        return None
    frame = frames[image.tell()]
    data, (width, height), channels = frame.data, frame.size, CHANNELS[image.mode]
    if frame.mode != image.mode or len(data) < frame.stride * height:
        return None
    rows = np.asarray(_Lent(data))[: frame.stride * height].reshape(height, -1)
    pixels = rows[:, : width * channels].reshape(height, width, channels)  # a view, also where rows are padded
    if channels == 4:
        return on_white_rows(pixels)
    return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels)


class _Lent:
    """Memory of a decoder as a writable array: numpy keeps this object, which keeps the memory, as its owner."""

    def __init__(self, data: memoryview) -> None:
        self.data = data  # whoever wrote it does not read it again
        address = np.frombuffer(data, np.uint8).ctypes.data
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (len(data),), "data": (address, False)}


READERS: dict[str, Callable[[ImageFile.ImageFile], Bytes | None]] = {
    "WEBP": read_webp,
    "JPEG": read_progressive,
    "JPEG2000": read_jpeg2000,
    "AVIF": read_avif,
    "HEIF": read_heif,
    "PPM": netpbm.read_colour,
}
"""The reader of each format of Pillow's that has one."""


def on_white(rgba: Bytes) -> Bytes:
    """Blend RGBA onto white: (h, W, 4) → (h, W, 3); 255 - alpha * (255 - colour) / 255, which is never halfway."""
    shade = rgba[..., 3:].astype(np.uint16) * (255 - rgba[..., :3])
    return (255 - (shade + 127) // 255).astype(np.uint8)


def on_white_rows(pixels: Bytes) -> Bytes:
    """Copy a whole photo in strips: (H, W, 3), or (H, W, 4) on white → (H, W, 3)."""
    if pixels.shape[2] == 3:
        return pixels.copy()
    result = np.empty((*pixels.shape[:2], 3), np.uint8)
    for part in strips(*pixels.shape[:2]):
        result[part] = on_white(pixels[part])
    return result


def _by_opencv(image: ImageFile.ImageFile, how: int) -> Bytes | None:
    decoded = by_opencv(image, how, np.uint8)
    return None if decoded is None else np.asarray(decoded, np.uint8)


def by_opencv(image: ImageFile.ImageFile, how: int, kind: type[np.generic]) -> NDArray[np.generic] | None:
    """Decode a file by OpenCV; None where it does not give this type in the size and channels that Pillow announces."""
    assert image.fp is not None
    position = image.fp.tell()
    image.fp.seek(0)
    try:
        decoded: Any = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), how)
    except (cv2.error, ValueError):
        decoded = None
    image.fp.seek(position)
    channels = () if image.mode == "L" else (len(image.mode),)
    if decoded is None or decoded.dtype != kind or decoded.shape != (image.height, image.width, *channels):
        return None
    return np.asarray(decoded)


def _packed(bgr: Bytes) -> Bytes:
    """Convert OpenCV's BGR or BGRA to RGB in the same memory; each strip is read before it is overwritten."""
    height, width, channels = bgr.shape
    packed = bgr.reshape(-1)
    for part in strips(height, width):
        strip = on_white(bgr[part][..., [2, 1, 0, 3]]) if channels == 4 else bgr[part][..., ::-1].copy()
        packed[3 * width * part.start : 3 * width * part.stop] = strip.reshape(-1)
    return packed[: 3 * width * height].reshape(height, width, 3)
