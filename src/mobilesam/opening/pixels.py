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

from mobilesam.errors import ImageError
from mobilesam.opening import jpeg2000, netpbm, tones
from mobilesam.opening.encoded import ORIENTATION, check_pixels, exif_orientation, tiff_orientation
from mobilesam.opening.lean import on_white, read_lean
from mobilesam.opening.tones import Deep, strips

Bytes: TypeAlias = NDArray[np.uint8]
ValueRange: TypeAlias = tuple[float, float]
WITH_ALPHA = ("RGBA", "LA", "PA")
GREY = ("1", "L", "LA")
IN_PLACE = ("RGB", "RGBA", "CMYK", "YCbCr", "LAB")  # 4 bytes per pixel, of which 3 are kept
SIDEWAYS = range(5, 9)  # orientations that exchange width and height


def decode(image: ImageFile.ImageFile, what: str, value_range: ValueRange | None) -> tuple[Bytes, int]:
    """Load the pixels of an opened photo: (H, W) or (H, W, 3) as stored, and its EXIF orientation.

    The photo is of no use afterwards.
    """
    found = jpeg2000.read_deep(image, what, value_range)
    if found is not None or (found := read_lean(image)) is not None:
        return found, exif_orientation(image)
    if image.mode == "I" and (found := netpbm.read_deep(image, what, value_range)) is not None:
        return found, 1
    turned = tiff_orientation(image)
    says = tones.from_file(image)
    memory = lend_memory(image)
    image.load()
    orientation = turned if image.format == "TIFF" else exif_orientation(image)
    if memory is not None and image.im is memory.core:
        return memory.pack(image), orientation
    return read(image, what, value_range, says), orientation


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the pixels as they are stored, of a photo that is not loaded yet."""
    return image.size[::-1] if tiff_orientation(image) in SIDEWAYS else image.size


def read(image: Image.Image, what: str, value_range: ValueRange | None, says: tones.Tones | None = None) -> Bytes:
    """Convert a loaded PIL image to pixels: (H, W) if it is grey, else (H, W, 3)."""
    width, height = image.im.size
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
    return image.crop((0, rows.start or 0, image.im.size[0], rows.stop))


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
        size = stored_size(image)
        buffer = np.zeros(size[0] * size[1] * 4, np.uint8)
        try:
            core = Image.core.map_buffer(buffer, size, "raw", 0, (image.mode, 0, 1))  # type: ignore[attr-defined]
        except (AttributeError, TypeError, ValueError):  # a private part of Pillow, not vital
            return None
        image.im = core
        return cls(core, buffer)

    def pack(self, image: ImageFile.ImageFile) -> Bytes:
        """Convert to (H, W, 3) in the same memory; each strip is read before it is overwritten."""
        width, height = image.im.size
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
        width, height = image.im.size
        source, convert = self.buffer.reshape(height, width, 4), converter(image)
        for part in strips(height, width):
            if image.mode == "RGBA":
                yield part, on_white(source[part])
            elif image.mode == "RGB" and "transparency" not in image.info:
                yield part, np.asarray(cv2.cvtColor(source[part], cv2.COLOR_RGBA2RGB), np.uint8)
            else:
                yield part, convert(part)


def lend_memory(image: ImageFile.ImageFile) -> Memory | None:
    """Choose the memory that a photo which is not loaded yet is decoded into, as it is stored."""
    if image.format == "TIFF":
        size = stored_size(image)
        if tiff_orientation(image) != 1:
            image.getexif()[ORIENTATION] = 1  # or Pillow would turn a copy of it
        if image.mode not in IN_PLACE:
            # Asked for memory by itself, this format applies Pillow's limit of pixels, which is the host's.
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


def in_colour(pixels: Bytes) -> Bytes:
    """Convert grey to RGB: (H, W) or (H, W, 3) → (H, W, 3)."""
    return pixels if pixels.ndim == 3 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)


def turn(pixels: Bytes, orientation: int) -> Bytes:
    """Turn stored pixels upright by the EXIF `orientation` (1-8)."""
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
