"""Photos of more than 8 bits in formats that no library writes as wanted, and what was said when they were opened."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image

from mobilesam.opening import tones

SIZ = b"\xff\x4f\xff\x51"


def jpeg2000(values: np.ndarray, bits: int, *, signed: bool = False) -> bytes:
    """A lossless JPEG 2000 of grey (H, W) or of RGB or RGBA (H, W, C) values of so many bits.

    It is encoded with 16 bits, around the same middle, and its header then states the bits that are meant.
    """
    moved = (values.astype(int) + (1 << 15) - (0 if signed else 1 << (bits - 1))).astype(np.uint16)
    if values.ndim == 2:
        file = io.BytesIO()
        Image.fromarray(moved).save(file, "JPEG2000", no_jp2=True)
        data = bytearray(file.getvalue())
    else:
        order = [2, 1, 0, 3][: values.shape[2]]
        done, encoded = cv2.imencode(".jp2", moved[..., order], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
        assert done
        data = bytearray(encoded.tobytes())
        data[data.find(b"ihdr") + 14] = bits - 1
    start = data.find(SIZ)
    for channel in range(struct.unpack_from(">H", data, start + 40)[0]):
        assert data[start + 42 + 3 * channel] == 15
        data[start + 42 + 3 * channel] = bits - 1 + (0x80 if signed else 0)
    return bytes(data)


def png_grey_alpha(values: np.ndarray) -> bytes:
    """A PNG of (H, W, 2) 16-bit values, grey and transparency, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 4, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@contextmanager
def said() -> Iterator[list[str]]:
    """The messages of the block, as if it were the first of the process to open a deep photo."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(f"{record.levelname} {record.getMessage()}")

    kept, level, handler = tones.log.handlers, tones.log.level, Handler()
    tones.log.handlers = [handler]
    tones.log.setLevel(logging.INFO)
    tones._was_said.clear()
    tones._was_said_of_range.clear()
    try:
        yield found
    finally:
        tones.log.handlers = kept
        tones.log.setLevel(level)
