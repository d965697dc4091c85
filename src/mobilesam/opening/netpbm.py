"""Binary PPM and PGM whose largest value is not 255, read in strips: Pillow makes a list of all values first.

Pillow also scales their values by the largest one that the file states, so that a `value_range` would not be in the
file's own values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from mobilesam.opening import tones
from mobilesam.opening.tones import Deep, Tones

SHALLOW, DEEP = 255, 65535


def largest_value(image: ImageFile.ImageFile) -> int:
    """The largest value that a binary PPM or PGM states, 1-65535; 0 for other photos and where Pillow maps the bytes.

    The photo is not loaded yet.
    """
    if image.format != "PPM" or image.mode not in ("L", "I", "RGB") or len(image.tile) != 1 or image.fp is None:
        return 0
    decoder, _, _, arguments = image.tile[0]
    if decoder == "ppm" and isinstance(arguments, tuple):
        return int(arguments[-1])
    return DEEP if decoder == "raw" and arguments == "I;16B" else 0


def read_colour(image: ImageFile.ImageFile) -> NDArray[np.uint8] | None:
    """Decode a PPM (H, W, 3) as Pillow does, in 3 bytes per pixel instead of 10; None for other photos.

    Raises:
        ValueError: it is cut off.
    """
    largest = largest_value(image)
    if image.mode != "RGB" or not largest:
        return None
    values = as_deep(image)
    table = np.array([min(SHALLOW, round(v / largest * SHALLOW)) for v in range(DEEP + 1)], np.uint8)
    result = np.empty((*values.hw, 3), np.uint8)
    for part, strip in values.strips():
        result[part] = table[strip]
    return result


def as_deep(image: ImageFile.ImageFile) -> Deep:
    """The values of a binary PPM (H, W, 3) or PGM (H, W), as they stand in the file.

    Raises:
        ValueError: when rows are read that are missing.
    """
    file, offset, channels = image.fp, image.tile[0][2], 3 if image.mode == "RGB" else 1
    assert file is not None
    kind = np.dtype(np.uint8 if largest_value(image) <= SHALLOW else ">u2")
    row = image.width * channels * kind.itemsize

    def rows(part: slice) -> NDArray[np.generic]:
        start, stop, _ = part.indices(image.height)
        file.seek(offset + start * row)
        data = file.read((stop - start) * row)
        if len(data) < (stop - start) * row:
            raise ValueError("there are fewer values than pixels")
        values = np.frombuffer(data, kind).astype(np.uint16)
        return values.reshape(stop - start, image.width, channels) if channels > 1 else values.reshape(-1, image.width)

    return Deep(rows, (image.height, image.width), np.dtype(np.uint16))


def read_deep(
    image: ImageFile.ImageFile, what: str, value_range: tuple[float, float] | None
) -> NDArray[np.uint8] | None:
    """Decode a PPM (H, W, 3) or PGM (H, W) of more than 8 bits by the rules of `tones`; None for other photos.

    Raises:
        ImageError: it holds no value.
        ValueError: it is cut off.
    """
    largest = largest_value(image)
    if largest <= SHALLOW:
        return None
    says = Tones(0, largest, "the largest value that the file states") if largest < DEEP else None
    return tones.to_8_bits(as_deep(image), what, value_range, says)
