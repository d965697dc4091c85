"""Converting the pixels of an open photo to (H, W, 3) uint8, using at most 6 bytes per pixel.

A colour photo takes 4 bytes a pixel while it is decoded and 3 as a result. Where Pillow lets us, it decodes into our
memory, and the result is packed into the front of that same memory. Everything else goes in strips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from mobilesam import tones
from mobilesam.decoders import is_progressive, is_reduced
from mobilesam.encoded import check_pixels, exif_orientation, tiff_orientation
from mobilesam.errors import ImageError
from mobilesam.tones import Deep, strips

Bytes: TypeAlias = NDArray[np.uint8]
ValueRange: TypeAlias = tuple[float, float]
WITH_ALPHA = ("RGBA", "LA", "PA")
GREY = ("1", "L", "LA")
IN_PLACE = ("RGB", "RGBA", "CMYK", "YCbCr", "LAB")  # 4 bytes per pixel, of which 3 are kept
SIDEWAYS = range(5, 9)  # orientations that exchange width and height
BACK = {6: 8, 8: 6}  # orientations that do not undo themselves


def decode(image: ImageFile.ImageFile, what: str, value_range: ValueRange | None) -> tuple[Bytes, int]:
    """Load the pixels of an opened photo: (H, W) or (H, W, 3) as stored, and its EXIF orientation.

    The photo is of no use afterwards.
    """
    if image.format == "WEBP" and (found := read_webp(image)) is not None:
        return found, exif_orientation(image)
    if is_progressive(image) and not is_reduced(image) and (found := read_progressive(image)) is not None:
        return found, exif_orientation(image)
    turned = tiff_orientation(image)
    says = tones.from_file(image)
    memory = lend_memory(image, turned)
    image.load()
    if turned != 1:  # Pillow has turned it already
        return turn(read(image, what, value_range, says), BACK.get(turned, turned)), turned
    orientation = exif_orientation(image)
    if memory is not None and image.im is memory.core:
        return memory.pack(image), orientation
    return read(image, what, value_range, says), orientation


def read_webp(image: ImageFile.ImageFile) -> Bytes | None:
    """Decode a WebP (H, W, 3) by OpenCV: the same pixels in 6 bytes a pixel, where Pillow takes 16.

    None where Pillow has to decode it or to say what is wrong with it.
    """
    has_frames = getattr(image, "is_animated", False)
    if image.mode not in ("RGB", "RGBA") or has_frames or image.fp is None:
        return None
    image.fp.seek(0)
    try:
        decoded: Any = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, ValueError):
        return None
    height, width = image.height, image.width
    if decoded is None or decoded.dtype != np.uint8 or decoded.shape != (height, width, len(image.mode)):
        return None
    packed = decoded.reshape(-1)  # the result lies in the same memory; each strip is read before it is overwritten
    for part in strips(height, width):
        strip = on_white(decoded[part][..., [2, 1, 0, 3]]) if image.mode == "RGBA" else decoded[part][..., ::-1].copy()
        packed[3 * width * part.start : 3 * width * part.stop] = strip.reshape(-1)
    return np.asarray(packed[: 3 * width * height].reshape(height, width, 3), np.uint8)


def read_progressive(image: ImageFile.ImageFile) -> Bytes | None:
    """Decode a progressive JPEG (H, W, 3) by OpenCV: the same pixels by the same library, in 1 byte a pixel less.

    None where Pillow has to decode it or to say what is wrong with it.
    """
    if image.mode != "RGB" or image.format != "JPEG" or image.fp is None:
        return None
    position = image.fp.tell()
    image.fp.seek(0)
    how = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded: Any = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), how)
    except (cv2.error, ValueError):
        decoded = None
    image.fp.seek(position)
    if decoded is None or decoded.shape != (image.height, image.width, 3):
        return None
    return np.asarray(decoded, np.uint8)


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether a photo that is not loaded yet has 16-bit colour channels, of which Pillow keeps the upper 8 bits."""
    return image.mode == "RGB" and any(";16" in str(tile[3]) for tile in image.tile)


def read_deep_colour(image: ImageFile.ImageFile, what: str, value_range: ValueRange | None) -> Bytes | None:
    """Read a photo with 16-bit colours, scaled to 8 bits (H, W, 3) as stored; None where OpenCV cannot read it."""
    assert image.fp is not None
    says = tones.from_file(image)
    image.fp.seek(0)
    decoded = cv2.imdecode(np.frombuffer(image.fp.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3 or decoded.shape[2] != 3:
        return None
    hw = (decoded.shape[0], decoded.shape[1])
    return tones.to_8_bits(Deep(lambda rows: decoded[rows, :, ::-1], hw, decoded.dtype), what, value_range, says)


def read(image: Image.Image, what: str, value_range: ValueRange | None, says: tones.Tones | None = None) -> Bytes:
    """Convert a loaded PIL image to pixels: (H, W) if it is grey, else (H, W, 3)."""
    width, height = image.size
    if image.mode.startswith(("I", "F")):
        kind = np.asarray(_crop(image, slice(0, 1))).dtype
        deep = Deep(lambda part: np.asarray(_crop(image, part)), (height, width), kind)
        return tones.to_8_bits(deep, what, value_range, says)
    is_grey = image.mode in GREY
    result = np.empty((height, width) if is_grey else (height, width, 3), np.uint8)
    convert = converter(image)
    for part in strips(height, width):
        rgb = convert(part)
        result[part] = rgb[..., 0] if is_grey and rgb.ndim == 3 else rgb
    return result


def converter(image: Image.Image) -> Callable[[slice], Bytes]:
    """Choose the function that converts rows of a loaded 8-bit image to RGB or grey."""
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        return lambda part: on_white(np.asarray(_crop(image, part).convert("RGBA")))
    mode = "L" if image.mode in GREY else "RGB"
    return lambda part: np.asarray(_crop(image, part).convert(mode))


def _crop(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start or 0, image.width, rows.stop))


@dataclass
class Memory:
    """Buffer of 4 bytes per pixel that Pillow decodes a photo into, so that it can be converted in place."""

    core: Any
    """Pillow's internal image that uses the buffer."""
    buffer: Bytes
    """(H * W * 4,)"""

    @classmethod
    def of(cls, image: ImageFile.ImageFile) -> Memory | None:
        """Allocate a buffer for a photo that is not loaded yet; None where Pillow must allocate its own."""
        if image.mode not in IN_PLACE:
            return None
        buffer = np.zeros(image.height * image.width * 4, np.uint8)
        try:
            core = Image.core.map_buffer(buffer, image.size, "raw", 0, (image.mode, 0, 1))  # type: ignore[attr-defined]
        except (AttributeError, TypeError, ValueError):  # a private part of Pillow, not vital
            return None
        image.im = core
        return cls(core, buffer)

    def pack(self, image: ImageFile.ImageFile) -> Bytes:
        """Convert to (H, W, 3) in the same memory; each strip is read before it is overwritten."""
        width, height = image.size
        for part, strip in self.converted(image):
            start, stop = (3 * width * row for row in (part.start, part.stop))
            self.buffer[start:stop] = strip.reshape(-1)
        image.close()
        result = self.buffer
        del self.core, self.buffer  # no other array uses this memory when it shrinks
        result.resize((height, width, 3), refcheck=False)
        return result

    def converted(self, image: ImageFile.ImageFile) -> Iterator[tuple[slice, Bytes]]:
        """Yield converted strips (h, W, 3) from top to bottom."""
        source, convert = self.buffer.reshape(image.height, image.width, 4), converter(image)
        for part in strips(image.height, image.width):
            if image.mode == "RGBA":
                yield part, on_white(source[part])
            elif image.mode == "RGB" and "transparency" not in image.info:
                yield part, np.asarray(cv2.cvtColor(source[part], cv2.COLOR_RGBA2RGB), np.uint8)
            else:
                yield part, convert(part)


def lend_memory(image: ImageFile.ImageFile, turned: int) -> Memory | None:
    """Choose the memory that a photo which is not loaded yet is decoded into."""
    if image.format == "TIFF" and (turned != 1 or image.mode not in IN_PLACE):
        # Asked for memory by itself, this format applies Pillow's limit of pixels, which is the host's.
        size = image.size[::-1] if turned in SIDEWAYS else image.size
        image.im = Image.new(image.mode, size).im
        return None
    return Memory.of(image)


def from_array(array: NDArray[np.generic], what: str, value_range: ValueRange | None, max_pixels: int) -> Bytes:
    """Convert a caller's array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) to (H, W, 3).

    Raises:
        ImageError: it has another shape, too many pixels, or does not hold numbers.
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise ImageError(f"an array must be (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    hw = (array.shape[0], array.shape[1])
    check_pixels(hw[::-1], what, max_pixels)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind not in "uif":
        raise ImageError(f"an array must hold whole or floating-point numbers, not {array.dtype}")
    elif array.dtype != np.uint8:
        deep = array
        array = tones.to_8_bits(Deep(lambda part: deep[part], hw, deep.dtype), what, value_range, None)
    pixels = np.asarray(array, dtype=np.uint8)
    if pixels.shape[2] == 4:
        result = np.empty((*hw, 3), np.uint8)
        for part in strips(*hw):
            result[part] = on_white(pixels[part])
        return result
    return np.ascontiguousarray(np.broadcast_to(pixels, (*hw, 3)))


def on_white(rgba: Bytes) -> Bytes:
    """Blend RGBA onto white: (h, W, 4) → (h, W, 3); 255 - alpha * (255 - colour) / 255, which is never halfway."""
    shade = rgba[..., 3:].astype(np.uint16) * (255 - rgba[..., :3])
    return (255 - (shade + 127) // 255).astype(np.uint8)


def in_colour(pixels: Bytes) -> Bytes:
    """Convert grey to RGB: (H, W) or (H, W, 3) → (H, W, 3)."""
    return pixels if pixels.ndim == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)


def turn(pixels: Bytes, orientation: int) -> Bytes:
    """Turn stored pixels upright by the EXIF `orientation` (1-8); `BACK` maps it to the inverse orientation."""
    if orientation == 1:
        return pixels
    if orientation == 5:
        return np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation == 7:
        return np.ascontiguousarray(np.swapaxes(pixels, 0, 1)[::-1, ::-1])
    if orientation in (2, 4):
        return np.asarray(cv2.flip(pixels, 1 if orientation == 2 else 0), np.uint8)
    code = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}[orientation]
    return np.asarray(cv2.rotate(pixels, code), np.uint8)
