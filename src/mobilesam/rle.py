"""Checking and decoding COCO run lengths from untrusted files.

A mask is the lengths of its runs, column by column, background first; compressed, they are a text of base-32 digits.
pycocotools checks none of it: runs that end early give uninitialised memory as a mask, and a size of a million squared
ends the process. Masks from files are therefore decoded here, and pass `check_rle` before pycocotools sees them.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mobilesam.errors import DataError

# H W photo, R runs

MAX_PIXELS = 2**28
"""Most pixels of a mask or an embedded photo of which a file states the size alone."""
MAX_AREA = 2**31
"""Most pixels of any mask; pycocotools counts them in 32 bits."""
MAX_RUNS = 2**24
"""Most runs, or characters of the compressed form: ten times the noisiest mask of a 12-megapixel photo."""
MAX_DIGITS = 7  # of one number: 7 * 5 bits hold every difference of two 32-bit runs, and no sum of them wraps


class Rle(TypedDict):
    """COCO's compressed run-length encoding."""

    size: list[int]
    """[height, width]"""
    counts: str


def check_rle(rle: Any, hw: tuple[int, int] | None = None) -> Rle:
    """Check run lengths before native code reads them: the size is plausible, and the runs add up to it.

    Args:
        rle: {"size": [height, width], "counts": text, bytes or a list of numbers}.
        hw: the photo, whose size it must have, at most `MAX_AREA` pixels; where None, at most `MAX_PIXELS` pixels.

    Returns:
        The same mask with compressed counts.

    Raises:
        DataError: it is something else.
    """
    (height, width), runs = _parse(rle, hw)
    counts = rle["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    elif not isinstance(counts, str):
        plain = {"size": [height, width], "counts": runs.tolist()}
        counts = coco_mask.frPyObjects(plain, height, width)["counts"].decode("ascii")
    return {"size": [height, width], "counts": counts}


def decode_rle(rle: Any, hw: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Decode run lengths to a mask (H, W); arguments and errors as in `check_rle`."""
    (height, width), runs = _parse(rle, hw)
    is_object = np.zeros(len(runs), bool)
    is_object[1::2] = True
    return np.repeat(is_object, runs).reshape(width, height).T  # (H, W), column after column in memory


def _parse(rle: Any, hw: tuple[int, int] | None) -> tuple[tuple[int, int], NDArray[np.int64]]:
    if not isinstance(rle, dict) or "size" not in rle or "counts" not in rle:
        raise DataError(f"run lengths are an object with size and counts, not {_shown(rle)}")
    height, width = _size(rle["size"])
    if hw is not None and (height, width) != tuple(hw):
        raise DataError(f"the mask is {width}x{height}, the photo {hw[1]}x{hw[0]}")
    if height * width > (most := MAX_PIXELS if hw is None else MAX_AREA):
        raise DataError(f"a mask of {width}x{height} has more than {most} pixels")
    counts = rle["counts"]
    if isinstance(counts, (str, bytes)):
        runs = _digits(counts)
    elif isinstance(counts, (list, tuple)):
        runs = _numbers(counts)
    else:
        raise DataError(f"counts of run lengths are a text or a list, not {_shown(counts)}")
    if len(runs) and runs.min() < 0:
        raise DataError("a run length is negative")
    # Each of them, before they are added up: a sum of numbers of any size wraps, and may come out right.
    if len(runs) and (longest := int(runs.max())) > height * width:
        raise DataError(f"a run length is {longest}, the whole mask has {height * width} pixels ({width}x{height})")
    if (total := int(runs.sum())) != height * width:
        raise DataError(f"the run lengths add up to {total} pixels, the mask has {height * width} ({width}x{height})")
    return (height, width), runs


def _size(size: Any) -> tuple[int, int]:
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(is_whole(side) for side in size):
        raise DataError(f"the size of run lengths is [height, width], not {_shown(size)}")
    height, width = (int(side) for side in size)
    if min(height, width) < 1:
        raise DataError(f"the size of run lengths is [{height}, {width}], and both must be at least 1")
    return height, width


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, or a float that equals one; True and False are not."""
    if isinstance(value, (bool, np.bool_)):
        return False
    return isinstance(value, (int, np.integer)) or (isinstance(value, (float, np.floating)) and value % 1 == 0)


def _numbers(counts: list[Any] | tuple[Any, ...]) -> NDArray[np.int64]:
    """Read runs that are given as a list of numbers: (R,)"""
    if len(counts) > MAX_RUNS:
        raise DataError(f"{len(counts)} run lengths are more than {MAX_RUNS}")
    try:
        runs = np.asarray(counts)
    except ValueError as error:
        raise DataError("run lengths must be numbers, some are lists") from error
    is_number = runs.ndim == 1 and (runs.dtype.kind in "iuf" or not len(runs))
    if not is_number or (len(runs) and not (abs(runs) < 2**32).all()) or (runs % 1 != 0).any():
        raise DataError("run lengths must be whole numbers below 2**32")
    return runs.astype(np.int64)


def _digits(text: str | bytes) -> NDArray[np.int64]:
    """Decode runs from COCO's compressed text: (R,)

    A character holds 5 bits and whether more follow, the lowest bits first; from the fourth number on, each is the
    difference to the number two before it.
    """
    if len(text) > MAX_RUNS:
        raise DataError(f"run lengths of {len(text)} characters are longer than {MAX_RUNS}")
    try:
        data = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise DataError("run lengths hold characters that are not COCO's") from error
    digits = np.frombuffer(data, np.uint8) - np.uint8(48)
    if not len(digits):
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(digits < 32)  # (R,)
    if digits.max() > 63 or not len(ends) or ends[-1] != len(digits) - 1:
        raise DataError("run lengths hold characters that are not COCO's, or are cut off")
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    follow = ends - starts
    if (most := int(follow.max())) >= MAX_DIGITS:
        raise DataError("a run length has too many digits")
    highest = digits[ends].astype(np.int64)
    runs = ((highest ^ 16) - 16) << (5 * follow)  # the highest bit is the sign
    for k in range(most):
        longer = np.flatnonzero(follow > k)
        runs[longer] += (digits[starts[longer] + k] & 31).astype(np.int64) << (5 * k)
    for first in (1, 2):  # the very first number starts no chain of differences
        runs[first::2] = runs[first::2].cumsum()
    return runs


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
