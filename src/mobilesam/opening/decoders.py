"""What decoders need: how many bytes per pixel each format takes while it is decoded.

`mobilesam.opening.encoded` refuses a photo by these numbers before its pixels are decoded. They are measured by
`python -m benchmarks.photo_memory`, rounded up.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageFile

BYTES = 6.0
"""Bytes per pixel of photos of most formats, the result of 3 included."""
OPENJPEG = 5.0  # per channel: 32 bits of the channel and 8 of its result
OPENJPEG_DEEP = 6.0  # the same with 16 bits of its result
OPENJPEG_IN_PILLOW = 4.0  # Pillow's own image of what it decoded
AV1_FRAME = 1.5  # what a decoder of AV1 takes, relative to its planes
HEIF_COPIED = 8.0  # of deep values or with transparency
DEEP_COLOUR = 7.0  # the upper bytes of 16-bit values as a result, and Pillow's image of the lower ones
WEBP_LOSSLESS, WEBP_ALPHA, WEBP_ANIMATED = 9.0, 11.0, 17.0
PPM_TEXT = 10.0
PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR, TILE_WIDTH, TILE_HEIGHT, BITS = 262, 277, 278, 284, 322, 323, 258  # TIFF
YCBCR, SEPARATE = 6, 2
SIZ = struct.Struct(">HHHIIIIII")  # of JPEG 2000: marker, length, kind, size of image and of its offset, size of tiles
SIZ_MARKER = b"\xff\x4f\xff\x51"
HEAD, HEAD_OF_BOXES = 4096, 1 << 16
AV1_BOX = b"av1C"
BITS_BOX = b"pixi"
HEVC_BOX = b"hvcC"


def bytes_per_pixel(image: Image.Image) -> float:
    """Peak memory of decoding a photo whose header has been read, in bytes per pixel, the result included."""
    if image.format in ("JPEG", "MPO"):
        return jpeg_bytes(image) if is_progressive(image) else BYTES
    count = COUNTS.get(image.format or "")
    return BYTES if count is None else max(BYTES, count(image))


def jpeg_bytes(image: Image.Image) -> float:
    """The coefficients of a progressive JPEG, and the result."""
    return max(BYTES, 2 * samples_per_pixel(image) + (3 if image.mode == "RGB" else 4))


def jpeg2000_bytes(image: Image.Image) -> float:
    """The channels of a tile; tiles are decoded one after the other, so that only the largest counts."""
    if is_deep_jpeg2000(image):  # decoded as a whole
        return OPENJPEG_DEEP * len(image.getbands()) + 1
    share = share_of_tile(image)
    by_pillow = share < 1 or image.mode not in ("L", "RGB", "RGBA")
    return share * OPENJPEG * len(image.getbands()) + (1 + (OPENJPEG_IN_PILLOW if by_pillow else 0))


def avif_bytes(image: Image.Image) -> float:
    """The decoder's planes, what libavif makes of them, and Pillow's copy of that."""
    return AV1_FRAME * av1_planes(head_of(image, HEAD_OF_BOXES)) + 2 * len(image.getbands())


def heif_bytes(image: Image.Image) -> float:
    """Pixels of libheif are used where they lie, unless they are laid on white."""
    return BYTES if image.mode in ("L", "RGB") and box_bits(image) == 8 else HEIF_COPIED


def webp_bytes(image: Image.Image) -> float:
    """OpenCV takes 6 bytes without transparency and loss; Pillow decodes animations."""
    if getattr(image, "is_animated", False):
        return WEBP_ANIMATED
    return WEBP_ALPHA if image.mode == "RGBA" else WEBP_LOSSLESS if b"VP8L" in head_of(image)[:32] else BYTES


def tiff_bytes(image: Image.Image) -> float:
    """Pillow's image, and the strip or tile that libtiff decodes at a time: often the whole photo is one strip."""
    is_in_blocks = any(tile[0] == "libtiff" for tile in getattr(image, "tile", ()))
    return max(deep_bytes(image), 4 + block_bytes(image) if is_in_blocks else 0)


def deep_bytes(image: Image.Image) -> float:
    """Colours of 16 bits may have to be decoded twice, and those with transparency are where any is dark."""
    is_deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return DEEP_COLOUR if image.mode in ("RGB", "RGBA") and is_deep else BYTES


def ppm_bytes(image: Image.Image) -> float:
    """Photos of numbers as text are read by Pillow into lists of bytes."""
    return PPM_TEXT if any(tile[0] == "ppm_plain" for tile in getattr(image, "tile", ())) else BYTES


COUNTS: dict[str, Callable[[Image.Image], float]] = {
    "JPEG2000": jpeg2000_bytes,
    "AVIF": avif_bytes,
    "WEBP": webp_bytes,
    "PNG": deep_bytes,
    "TIFF": tiff_bytes,
    "PPM": ppm_bytes,
    "HEIF": heif_bytes,
}
"""How the bytes per pixel of a format are counted."""


def av1_planes(head: bytes) -> float:
    """Bytes per pixel of the planes of an AVIF, transparency included; those of the largest kind where it is not said.

    Each picture in the file, of colours or of transparency, has a box "av1C" with the kind of its planes.
    """
    colour, alpha, start = 0.0, 0.0, head.find(AV1_BOX)
    while 0 <= start < len(head) - 6:
        kind = head[
            start + 6
        ]  # bits: tier, more than 8 bits, 12 bits, no colours, half the width, half the height, ...
        size = 2 if kind & 0x40 else 1
        if kind & 0x10:
            alpha = max(alpha, 1.0 * size)
        else:
            colour = max(colour, size * (1 + 2 / ((1 + bool(kind & 0x08)) * (1 + bool(kind & 0x04)))))
        start = head.find(AV1_BOX, start + 1)
    return colour + alpha or 8.0


def block_bytes(image: Image.Image) -> float:
    """Size of a strip or tile of a TIFF, in bytes per pixel of the photo."""
    tags: Any = getattr(image, "tag_v2", {})
    height, width = image.height, image.width
    try:
        bits, planes = tags.get(BITS, (8,)), 1 if tags.get(PLANAR) == SEPARATE else int(tags.get(SAMPLES, 1))
        each = planes * max(bits if isinstance(bits, tuple) else (bits,)) / 8
        if TILE_WIDTH in tags:
            rows, columns = int(tags[TILE_HEIGHT]), int(tags[TILE_WIDTH])
        else:
            rows, columns = min(int(tags.get(ROWS_PER_STRIP, height)), max(height, width)), width
    except (TypeError, ValueError, KeyError):
        return 0.0  # Pillow says what is wrong with it
    each = max(4.0, each) if tags.get(PHOTOMETRIC) == YCBCR else each
    return each * min(1.0, rows * columns / (height * width))


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


def jpeg2000_bits(image: Image.Image) -> tuple[int, bool]:
    """Bits per value of a JPEG 2000, and whether its values have a sign; (8, False) where its header cannot be read."""
    head = head_of(image)
    place = head.find(SIZ_MARKER) + 2 + SIZ.size + 10  # behind the offsets of tiles and the number of channels
    if head.find(SIZ_MARKER) < 0 or len(head) <= place:
        return 8, False
    return (head[place] & 0x7F) + 1, bool(head[place] & 0x80)


def is_deep_jpeg2000(image: Image.Image) -> bool:
    """Whether a JPEG 2000 has colours of more than 8 bits, of which Pillow turns the brightest to black."""
    return image.format == "JPEG2000" and image.mode in ("RGB", "RGBA") and jpeg2000_bits(image)[0] > 8


def box_bits(image: Image.Image) -> int:
    """Bits per channel that the boxes of an AVIF or HEIC state; 8 where they cannot be read."""
    head = head_of(image, HEAD_OF_BOXES)
    if 0 <= (start := head.find(BITS_BOX)) < len(head) - 10:
        return max(head[start + 9 : start + 9 + head[start + 8]], default=8)
    if 0 <= (start := head.find(AV1_BOX)) < len(head) - 6:
        return (12 if head[start + 6] & 0x20 else 10) if head[start + 6] & 0x40 else 8
    if 0 <= (start := head.find(HEVC_BOX)) < len(head) - 21:
        return 8 + (head[start + 21] & 7)
    return 8


def head_of(image: Image.Image, size: int = HEAD) -> bytes:
    """The first `size` bytes of the file of a photo that is not loaded yet; where it is read on is not changed."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) else None
    if file is None:
        return b""
    position = file.tell()
    try:
        file.seek(0)
        return file.read(size)
    finally:
        file.seek(position)
