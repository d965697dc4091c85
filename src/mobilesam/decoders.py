"""What Pillow's decoders need: how many bytes per pixel, and which photos another decoder opens with fewer.

`mobilesam.encoded` refuses a photo by these numbers before its pixels are decoded. They are measured by
`python -m benchmarks.photo_memory`, rounded up.
"""

from __future__ import annotations

import math
import struct

from PIL import Image, ImageFile

BYTES = 6.0
"""Bytes per pixel of photos of most formats, the result of 3 included."""
OPENJPEG = 5.0  # per channel: 32 bits of the channel and 8 of its result
AVIF = 11.0
WEBP_LOSSLESS, WEBP_ALPHA = 8.0, 11.0
SIZ = struct.Struct(">HHHIIIIII")  # of JPEG 2000: marker, length, kind, size of image and of its offset, size of tiles
SIZ_MARKER = b"\xff\x4f\xff\x51"
HEAD = 4096


def bytes_per_pixel(image: Image.Image) -> float:
    """Peak memory of decoding a photo whose header has been read, in bytes per pixel, the result included."""
    if image.format == "JPEG2000":
        # Tiles are decoded one after the other, so that only a photo of one tile needs all of it at once.
        return BYTES + OPENJPEG * len(image.getbands()) * share_of_tile(image)
    if image.format == "AVIF":
        return AVIF
    if image.format == "WEBP":
        return WEBP_ALPHA if image.mode == "RGBA" else WEBP_LOSSLESS if b"VP8L" in head_of(image)[:32] else BYTES
    if is_progressive(image):
        return max(BYTES, 2 * samples_per_pixel(image) + (3 if image.mode == "RGB" else 4))
    return BYTES


def is_progressive(image: Image.Image) -> bool:
    """Whether a photo is a progressive JPEG, whose coefficients are kept until the last pass."""
    return image.format in ("JPEG", "MPO") and "progressive" in image.info


def is_reduced(image: Image.Image) -> bool:
    """Whether a JPEG is going to be decoded at a part of its size, as `draft` has set."""
    scale: tuple[int, ...] = getattr(image, "decoderconfig", ())
    return bool(scale) and scale[0] != 1


def samples_per_pixel(image: Image.Image) -> float:
    """Coefficients of a JPEG per pixel: 3 in colour, 1.5 where its chroma has half the width and height."""
    layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
    areas = [across * down for _, across, down, _ in layers]
    return sum(areas) / max(areas) if areas else float(len(image.getbands()))


def share_of_tile(image: Image.Image) -> float:
    """The part of a JPEG 2000 photo that one of its tiles takes, 0-1; 1 where its header cannot be read."""
    head = head_of(image)
    start = head.find(SIZ_MARKER)
    if start < 0 or len(head) < start + 2 + SIZ.size:
        return 1.0
    _, _, _, width, height, left, top, tile_width, tile_height = SIZ.unpack_from(head, start + 2)
    whole = math.prod((width - left, height - top))
    return min(1.0, tile_width * tile_height / whole) if whole > 0 else 1.0


def head_of(image: Image.Image) -> bytes:
    """The first bytes of the file of a photo that is not loaded yet; where it is read on is not changed."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) else None
    if file is None:
        return b""
    position = file.tell()
    try:
        file.seek(0)
        return file.read(HEAD)
    finally:
        file.seek(position)
