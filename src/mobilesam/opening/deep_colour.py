"""Colours of 16 bits per channel, of which Pillow reads one byte at a time.

A photo is read by its upper bytes first. Where they may be those of 10, 12 or 14 bits in a container of 16, or where a
range of values is given, it is opened again for the lower bytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from mobilesam.opening import netpbm, tones
from mobilesam.opening.decoders import BYTES, box_bits, jpeg2000_bits
from mobilesam.opening.lean import on_white
from mobilesam.opening.pixels import Bytes, ValueRange, decode, lend_memory
from mobilesam.opening.tones import Deep, strips

DEEP_ALPHA = 12.0  # bytes per pixel while both bytes of colours and transparency are decoded, the result included

Opener: TypeAlias = Callable[[], AbstractContextManager[ImageFile.ImageFile]]
"""Opens the photo once more."""
Kind: TypeAlias = tuple[str, str | None]
"""Pillow's mode and format of a photo."""


def refine(
    opener: Opener, pixels: Bytes, kind: Kind, what: str, value_range: ValueRange | None, max_pixels: int
) -> Bytes:
    """Scale a photo with 16-bit colours by all their bits, where its upper bytes are not what is to be shown.

    Args:
        opener: opens it.
        pixels: its upper bytes, (H, W, 3) as stored, laid on white; they may become the result.
        kind: its mode and format.
        what: how messages call it.
        value_range: the values of black and white, where they are given.
        max_pixels: the limit, of memory too.

    Raises:
        ImageError: it is damaged, or gone.
    """
    if kind[0] == "RGBA":
        if value_range is None and int(pixels.min()) > tones.LARGEST_OF_14_BITS >> 8:
            return pixels
        if pixels[..., 0].size * DEEP_ALPHA > max_pixels * BYTES:
            if value_range is not None:
                tones.tell_no_effect(what)
            return pixels
        return read_deep_alpha(opener, pixels, what, value_range)
    if value_range is None and not is_dark(pixels):
        if kind[1] != "PPM":  # which states its range
            tell_darkness(pixels, what)
        return pixels
    with opener() as image:
        deep = read_deep_colour(image, pixels, what, value_range)
    return pixels if deep is None else deep


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether a photo that is not loaded yet has 16-bit colour channels, of which Pillow keeps the upper 8 bits."""
    is_deep = netpbm.largest_value(image) > netpbm.SHALLOW or bool(LOWER.keys() & set(map(raw_mode, image.tile)))
    return image.mode in ("RGB", "RGBA") and is_deep


def ignores_range(image: ImageFile.ImageFile) -> bool:
    """Whether a photo that is not loaded yet has more than 8 bits per channel, of which only the upper 8 are read."""
    if image.mode.startswith(("I", "F")) or is_deep_colour(image):
        return False
    if image.format in ("AVIF", "HEIF"):
        return box_bits(image) > 8
    if image.format == "JPEG2000":
        return image.mode not in ("RGB", "RGBA") and jpeg2000_bits(image)[0] > 8
    return any(";16" in raw_mode(tile) for tile in image.tile)


def is_dark(pixels: Bytes) -> bool:
    """Whether the upper 8 bits of 16-bit colours (H, W, 3) can be those of 10, 12 or 14 bits in a container of 16."""
    return int(pixels.max()) <= tones.LARGEST_OF_14_BITS >> 8


def tell_darkness(pixels: Bytes, what: str) -> None:
    """Say that a photo of 16-bit colours is shown dark because of a few bright values, where that is so."""
    step = math.ceil(math.sqrt(pixels[..., 0].size / tones.SAMPLE))
    if because := tones.darkness(pixels[::step, ::step].astype(np.uint16) << 8, tones.FULL[16][1]):
        tones.tell(what, tones.Tones(*tones.FULL[16], because))


def read_deep_alpha(opener: Opener, pixels: Bytes, what: str, value_range: ValueRange | None) -> Bytes:
    """Scale a photo with 16-bit colours and transparency to 8 bits (H, W, 3) as stored, laid on white.

    Where no range is given, only photos without a bright pixel are scaled. Arguments as of `refine`.
    """
    with opener() as image:
        says = tones.from_file(image)
        upper = stored_rgba(image)
    hw = (upper.shape[0], upper.shape[1])
    if value_range is None and not all(is_dark(seen(upper[part])) for part in strips(*hw)):
        return pixels
    with opener() as image:
        if not all(raw_mode(tile) in LOWER for tile in image.tile):
            return pixels
        take_lower_bytes(image)
        lower = stored_rgba(image)
    if upper.shape != lower.shape or hw != pixels.shape[:2]:
        return pixels

    def colours(part: slice) -> NDArray[np.generic]:
        return upper[part][..., :3].astype(np.uint16) << 8 | lower[part][..., :3]

    def visible(part: slice) -> NDArray[np.generic]:
        """Not a number where the photo is transparent: what lies there says nothing about black and white."""
        return np.where(upper[part][..., 3:] > 0, colours(part).astype(np.float32), np.nan)

    scale = tones.choose_scale(Deep(visible, hw, np.dtype(np.uint16)), what, value_range, says)
    for part in strips(*hw):
        pixels[part] = on_white(np.concatenate([scale(colours(part)), upper[part][..., 3:]], axis=2))
    return pixels


def seen(rgba: Bytes) -> Bytes:
    """The colours of RGBA pixels (h, W, 4) → (h, W, 3), black where they are transparent."""
    return rgba[..., :3] * (rgba[..., 3:] > 0)


def stored_rgba(image: ImageFile.ImageFile) -> Bytes:
    """Load the pixels (H, W, 4) of an opened photo with transparency as they are stored."""
    memory = lend_memory(image)
    image.load()
    width, height = image.im.size
    if memory is not None and image.im is memory.core:
        return memory.buffer.reshape(height, width, 4)
    return np.asarray(image)


def take_lower_bytes(image: ImageFile.ImageFile) -> None:
    """Tell Pillow to read the other byte of each 16-bit value of a photo that is not loaded yet."""
    for i, tile in enumerate(image.tile):
        other = LOWER[raw_mode(tile)]
        image.tile[i] = tile._replace(args=other if isinstance(tile.args, str) else (other, *(tile.args or ())[1:]))


def read_deep_colour(
    image: ImageFile.ImageFile, upper: Bytes, what: str, value_range: ValueRange | None
) -> Bytes | None:
    """Scale a photo with 16-bit colours to 8 bits (H, W, 3) as stored; None where its lower 8 bits cannot be read.

    `upper`, its upper 8 bits (H, W, 3), becomes the result: Pillow is told to read the other byte of each value.
    """
    if image.format == "PPM":
        return netpbm.read_deep(image, what, value_range)
    if not all(raw_mode(tile) in LOWER for tile in image.tile):
        return None
    says = tones.from_file(image)
    take_lower_bytes(image)
    lower, _ = decode(image, what, None)
    if lower.shape != upper.shape:
        return None
    deep = Deep(lambda part: upper[part].astype(np.uint16) << 8 | lower[part], upper.shape[:2], np.dtype(np.uint16))
    return tones.to_8_bits(deep, what, value_range, says, upper)


def raw_mode(tile: ImageFile._Tile) -> str:
    """How Pillow is told to unpack the values of a part of a photo."""
    return str(tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args)


LOWER = {
    f"{bands};16{order}": f"{bands};16{'L' if (sys.byteorder[0].upper() if order == 'N' else order) == 'B' else 'B'}"
    for bands in ("RGB", "RGBX", "RGBA")
    for order in "BLN"
}
"""For each way to unpack the upper byte of 16-bit values, in one order of bytes or the machine's, the lower one's."""
