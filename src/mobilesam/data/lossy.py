"""Whether a label picture was saved in a way that changes its values, as its file says."""

from __future__ import annotations

import struct
from typing import IO

from PIL import ImageFile

from mobilesam.opening.decoders import head_of

CODING = b"\xff\x52"  # marker of JPEG 2000's coding style
TRANSFORM = 13  # bytes from it to the kind of its wavelets
IRREVERSIBLE = 0
ANIMATED_FRAME, HEADER_OF_FRAME = b"ANMF", 16  # a chunk of WebP that holds others, and what comes before them


def is_lossy(image: ImageFile.ImageFile) -> bool:
    """Whether a picture that is not loaded yet was compressed with loss, or in a format that does not tell.

    JPEG 2000 is taken for lossless where its wavelets are reversible, though it may have been cut off after them.
    """
    if image.format == "WEBP" and image.fp is not None:
        return not _is_lossless_webp(image.fp)
    if image.format == "JPEG2000":
        return _is_irreversible(head_of(image))
    return image.format in ("JPEG", "MPO", "AVIF", "HEIF")


def _is_lossless_webp(file: IO[bytes]) -> bool:
    """Whether the pixels of a WebP (of its first picture, if it is animated) are in a lossless chunk."""
    position = file.tell()
    try:
        file.seek(12)  # behind RIFF, size, WEBP
        while len(head := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            if kind in (b"VP8 ", b"VP8L"):
                return bool(kind == b"VP8L")
            file.seek(HEADER_OF_FRAME if kind == ANIMATED_FRAME else size + size % 2, 1)
        return False
    finally:
        file.seek(position)


def _is_irreversible(head: bytes) -> bool:
    start = head.find(CODING)
    return start < 0 or len(head) <= start + TRANSFORM or head[start + TRANSFORM] == IRREVERSIBLE
