"""JPEG 2000 of more than 8 bits: its values as they stand in the file.

Pillow shifts grey values to 16 bits, so that a `value_range` would not be in the file's own values. It rounds colours
to 8 bits, and the brightest ones overflow to black.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from mobilesam.opening import tones
from mobilesam.opening.decoders import is_deep_jpeg2000, jpeg2000_bits
from mobilesam.opening.lean import by_opencv, on_white
from mobilesam.opening.tones import Deep, Tones, strips

MOST_BITS = 16


def read_deep(
    image: ImageFile.ImageFile, what: str, value_range: tuple[float, float] | None
) -> NDArray[np.uint8] | None:
    """Decode a JPEG 2000 of 9 to 16 bits, (H, W) or (H, W, 3), by the rules of `tones`; None for other photos.

    Raises:
        ImageError: it holds no value.
    """
    if image.format != "JPEG2000":
        return None
    bits, is_signed = jpeg2000_bits(image)
    says = Tones(0, 2.0**bits - 1, f"its {bits} bits per sample") if bits < MOST_BITS and not is_signed else None
    if image.mode == "I;16" and bits <= MOST_BITS:
        return tones.to_8_bits(_grey(image, bits, is_signed), what, value_range, says)
    if not is_deep_jpeg2000(image) or bits > MOST_BITS or is_signed:
        return None
    values = by_opencv(image, cv2.IMREAD_UNCHANGED, np.uint16)  # (H, W, 3) BGR or (H, W, 4) BGRA
    return None if values is None else _colour(values, bits, what, value_range, says)


def _grey(image: ImageFile.ImageFile, bits: int, is_signed: bool) -> Deep:
    image.load()
    width, height = image.size
    shift, zero = MOST_BITS - bits, 1 << (bits - 1)

    def rows(part: slice) -> NDArray[np.generic]:
        values = np.asarray(image.crop((0, part.start, width, part.stop))) >> shift
        return values.astype(np.int32) - zero if is_signed else values

    return Deep(rows, (height, width), np.dtype(np.int32 if is_signed else np.uint16))


def _colour(
    values: NDArray[np.generic], bits: int, what: str, value_range: tuple[float, float] | None, says: Tones | None
) -> NDArray[np.uint8]:
    hw = (values.shape[0], values.shape[1])
    deep = Deep(lambda part: values[part][..., 2::-1], hw, np.dtype(np.uint16))
    scale = tones.choose_scale(deep, what, value_range, says)
    result = np.empty((*hw, 3), np.uint8)
    for part in strips(*hw):
        result[part] = scale(deep.rows(part))
        if values.shape[2] == 4:
            alpha = (np.asarray(values[part][..., 3:], np.uint16) >> (bits - 8)).astype(np.uint8)
            result[part] = on_white(np.concatenate([result[part], alpha], axis=2))
    return result
