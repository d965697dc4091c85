"""Label Studio's run lengths of brush masks.

A mask is a picture of 4 bytes per pixel, row by row, each 255 on the object and 0 elsewhere. Its bytes are packed into
bits, the highest first:

- 32 bits: number of bytes; 5 bits: bits of a value less 1, here 7; 4 times 4 bits: four widths less 1;
- then runs until all bytes are told. Each begins with a bit that is 1 for a repeated value, 2 bits that choose one of
  the four widths, and the run's length less 1 in that many bits; then the value, once if it is repeated.

The result is a list of numbers from 0 to 255, the last one filled up with zero bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobilesam.masks import run_lengths

CHANNELS = 4
VALUE_BITS = 8
WIDTHS = (4, 8, 12, 16)
"""Bits of a run's length: the widest holds 65,536 bytes."""


def to_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Encode a mask (H, W) as Label Studio's run lengths."""
    bits = [_bits(mask.size * CHANNELS, 32), _bits(VALUE_BITS - 1, 5), *(_bits(width - 1, 4) for width in WIDTHS)]
    for i, length in enumerate(run_lengths(mask)):
        if length:
            bits.append(_run(CHANNELS * length, 255 * (i % 2)))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _run(length: int, value: int) -> str:
    """The bits of one run, split where it is longer than the widest length."""
    longest = 2 ** WIDTHS[-1]
    parts = [longest] * (length // longest)
    if length % longest:
        parts.append(length % longest)
    return "".join(_piece(part, value) for part in parts)


def _piece(length: int, value: int) -> str:
    choice = next(i for i, width in enumerate(WIDTHS) if length <= 2**width)
    return f"1{_bits(choice, 2)}{_bits(length - 1, WIDTHS[choice])}{_bits(value, VALUE_BITS)}"


def _bits(number: int, width: int) -> str:
    return format(number, f"0{width}b")
