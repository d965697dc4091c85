"""Scaling deep photos (more than 8 bits, or floating point) to 8 bits: which value becomes black, which white.

The rule, in this order:

1. the range that the user gives (`value_range`);
2. the range in the file's tags: TIFF's SMinSampleValue and SMaxSampleValue, the display range of ImageJ, TIFF's
   MinSampleValue and MaxSampleValue, or 9 to 15 bits per sample; or the largest value of a PPM, below 65535; or 9 to 15
   bits per sample of a JPEG 2000;
3. the range that the values suggest: floating point within 0-1 is 0-1 where its largest value is above 0.25 or all are
   equal, and within 0-255 with its largest value above 64 is 0-255; integers within 0-255 have 8 bits; integers within
   0-65535 have 16 bits where one of them is above 16383, a quarter of that range, or all are equal (a smaller largest
   value means 10, 12 or 14 bits in a container of 16);
4. else black is the 0.5 percentile of the finite values and white the 99.5 percentile. Of large photos a regular grid
   of at most a million pixels is counted.

A photo that rule 3 shows dark, because few of its values are bright, stays dark, which is said: see `darkness`.

NaN, minus infinity and GDAL's "no data" value are black, plus infinity is white.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam.errors import ImageError, SettingsError

STRIP = 1 << 18  # pixels that are converted at a time
PERCENTILES = (0.5, 99.5)
SAMPLE = 1_000_000  # largest number of pixels from which percentiles are computed
FULL = {8: (0.0, 255.0), 16: (0.0, 65535.0)}
LARGEST_OF_14_BITS = 16383
UNIT = (0.0, 1.0)
DARKEST_UNIT = 0.25  # floating point up to here, a quarter as for integers, is not taken for a photo in 0-1
DARKEST_BYTES = 64  # floating point up to here is not taken for 8-bit values
DARK = 0.25  # of white: where nearly all values are below, one bright pixel may have decided what white is
BITS, DESCRIPTION, MIN, MAX, SAMPLE_MIN, SAMPLE_MAX, NO_DATA = 258, 270, 280, 281, 340, 341, 42113  # tags of TIFF

Rows = Callable[[slice], NDArray[np.generic]]
"""Reads some rows of a picture: (h, W) or (h, W, C)."""

log = logging.getLogger("mobilesam")
_was_said = threading.Event()
_was_said_of_range = threading.Event()


@dataclass(frozen=True)
class Tones:
    """The values that become black and white."""

    low: float
    high: float
    because: str = ""
    """How they were chosen, for the log message; empty where no message is needed."""
    no_data: float | None = None
    """The value of pixels without data; None where there is none."""


@dataclass(frozen=True)
class Deep:
    """A picture of deep values, read in strips so that no second copy of it is needed."""

    rows: Rows
    hw: tuple[int, int]
    dtype: np.dtype[np.generic]

    def strips(self) -> Iterator[tuple[slice, NDArray[np.generic]]]:
        """Yield strips of the picture from top to bottom, with their rows."""
        for part in strips(*self.hw):
            yield part, self.rows(part)


def strips(height: int, width: int) -> Iterator[slice]:
    """Split the rows of a picture into strips."""
    step = max(1, STRIP // width)
    return (slice(y, min(y + step, height)) for y in range(0, height, step))


def check_range(value_range: tuple[float, float]) -> tuple[float, float]:
    """Check a `value_range` that the user gave.

    Raises:
        SettingsError: it is not two finite numbers, the lower first.
    """
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingsError(f"'value_range' takes two numbers, the value of black and a larger one, not {value_range}")
    return low, high


def to_8_bits(
    deep: Deep,
    what: str,
    value_range: tuple[float, float] | None,
    says: Tones | None,
    result: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Convert deep values to 8 bits, in the picture's shape, by the rules in the module's docstring.

    Args:
        deep: the picture.
        what: how messages call it.
        value_range: (black, white), where it is given.
        says: the range in the file's tags, see `from_file`.
        result: where the result is written; the rows of a strip may be read from it.

    Raises:
        ImageError: it holds no finite value.
    """
    scale = choose_scale(deep, what, value_range, says)
    for part, values in deep.strips():
        if result is None:
            result = np.empty((deep.hw[0], *values.shape[1:]), np.uint8)
        result[part] = scale(values)
    assert result is not None
    return result


def choose_scale(
    deep: Deep, what: str, value_range: tuple[float, float] | None, says: Tones | None
) -> Callable[[NDArray[np.generic]], NDArray[np.uint8]]:
    """Choose black and white and make the function that scales to 8 bits; args and errors as in `to_8_bits`."""
    no_data = None if says is None else says.no_data
    tones = Tones(*value_range, "", no_data) if value_range else choose(deep, what, says)
    if tones.because:
        tell(what, tones)
    return scaler(tones, deep.dtype)


def choose(deep: Deep, what: str, says: Tones | None) -> Tones:
    """Choose black and white by rules 2 to 4: from the file's tags or from the values."""
    no_data = None if says is None else says.no_data
    low, high = extremes(deep, no_data, what)
    if says is not None and says.because and says.low < high and says.high > low:
        return says
    span = by_values(low, high, np.issubdtype(deep.dtype, np.floating))
    if span is not None:
        return Tones(*span, "" if span == FULL[8] else darkness(sample(deep, no_data), span[1]), no_data)
    values = sample(deep, no_data)
    black, white = np.percentile(values, PERCENTILES, overwrite_input=True) if values.size else (low, low)
    if black == white:  # nearly everything has one value, or is no number
        return Tones(low, high, "its extremes, since its percentiles are equal", no_data)
    return Tones(float(black), float(white), f"percentiles {PERCENTILES[0]:g} and {PERCENTILES[1]:g}", no_data)


def by_values(low: float, high: float, is_floating: bool) -> tuple[float, float] | None:
    """Rule 3: choose black and white from the range of values, `low` to `high`; None where it is not conclusive."""
    if low < 0:
        return None
    if is_floating:
        if high <= UNIT[1]:
            return UNIT if high > DARKEST_UNIT or low == high else None
        return FULL[8] if DARKEST_BYTES < high <= FULL[8][1] else None
    if high <= FULL[8][1]:
        return FULL[8]
    is_16_bit = LARGEST_OF_14_BITS < high <= FULL[16][1] or low == high <= FULL[16][1]
    return FULL[16] if is_16_bit else None


def darkness(values: NDArray[np.generic], white: float) -> str:
    """Say that a photo is shown dark, though a few of its values (N,) are bright; "" where it is not."""
    if not values.size or values.min() == values.max():
        return ""
    bright = float(np.percentile(values.astype(np.float32), PERCENTILES[1]))
    if bright > DARK * white:
        return ""
    return f"by its largest values, though {PERCENTILES[1]:g} % of all are at most {bright:g}, so that it is dark"


def from_file(image: Image.Image) -> Tones | None:
    """Rule 2: read black and white from the tags of a TIFF; None where it has none."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    no_data = _number(tags.get(NO_DATA))
    text = str(tags.get(DESCRIPTION, ""))
    found = [re.search(rf"^{key}=(\S+)", text, re.MULTILINE) for key in ("min", "max")]
    display = [_number(match.group(1)) if match else None for match in found]
    bits = _number(tags.get(BITS)) or 0
    candidates = (
        (_number(tags.get(SAMPLE_MIN, 0)), _number(tags.get(SAMPLE_MAX)), "its tags"),
        (*(display if text.startswith("ImageJ=") else (None, None)), "ImageJ's display range"),
        (_number(tags.get(MIN, 0)), _number(tags.get(MAX)), "its tags"),
        (0.0, 2.0**bits - 1 if 8 < bits < 16 else None, f"its {bits:g} bits per sample"),
    )
    for low, high, because in candidates:
        if low is not None and high is not None and low < high:
            return Tones(low, high, because, no_data)
    return None if no_data is None else Tones(0, 0, "", no_data)


def extremes(deep: Deep, no_data: float | None, what: str) -> tuple[float, float]:
    """Find the smallest and the largest finite value.

    Raises:
        ImageError: there is none.
    """
    low, high = math.inf, -math.inf
    for _, values in deep.strips():
        finite = _finite(values, no_data)
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        raise ImageError(f"{what} holds no finite value")
    return low, high


def sample(deep: Deep, no_data: float | None) -> NDArray[np.float64]:
    """Sample the finite values on a regular grid of at most `SAMPLE` pixels."""
    step = math.ceil(math.sqrt(deep.hw[0] * deep.hw[1] / SAMPLE))
    parts = [_finite(values[-part.start % step :: step, ::step], no_data) for part, values in deep.strips()]
    return np.concatenate(parts).astype(np.float64)


def scaler(tones: Tones, dtype: np.dtype[np.generic]) -> Callable[[NDArray[np.generic]], NDArray[np.uint8]]:
    """Make the function that scales values to 8 bits; for 16-bit integers it looks them up in a table."""
    if dtype.kind == "u" and dtype.itemsize == 2:
        table = scale(np.arange(1 << 16, dtype=np.uint16), tones)
        return lambda values: table[values]
    return lambda values: scale(values, tones)


def scale(values: NDArray[np.generic], tones: Tones) -> NDArray[np.uint8]:
    """Scale values to 8 bits, linearly between black and white."""
    unit: NDArray[np.floating[Any]]
    if (tones.low, tones.high) == UNIT and values.dtype.kind == "f":
        unit = values.astype(np.float32)  # as photos in 0-1 have always been rounded
    else:
        # Halves, because the difference of two huge values would overflow to infinity.
        half = values.astype(np.float64) / 2 - tones.low / 2
        unit = half / (tones.high / 2 - tones.low / 2) if tones.high > tones.low else half * 0
    if tones.no_data is not None:
        unit = np.where(values == tones.no_data, 0, unit)
    unit = np.clip(np.nan_to_num(unit, nan=0, posinf=1, neginf=0), 0, 1)
    return np.round(unit * 255).astype(np.uint8)


def tell(what: str, tones: Tones) -> None:
    """Log how a photo was scaled: as a warning for the first one of a process, as information for the others."""
    level = logging.INFO if _was_said.is_set() else logging.WARNING
    _was_said.set()
    log.log(
        level,
        "%s has deep values: %g is shown black and %g white (%s); value_range (--range LOW,HIGH) sets others",
        what,
        tones.low,
        tones.high,
        tones.because,
    )


def tell_no_effect(what: str) -> None:
    """Log that a `value_range` has no effect on a photo; as a warning for the first one, as in `tell`."""
    level = logging.INFO if _was_said_of_range.is_set() else logging.WARNING
    _was_said_of_range.set()
    log.log(
        level,
        "%s has more than 8 bits per channel, of which only the upper 8 can be read: value_range (--range) has no "
        "effect on it; save it as PNG or TIFF without transparency",
        what,
    )


def _finite(values: NDArray[np.generic], no_data: float | None) -> NDArray[np.generic]:
    kept = np.isfinite(values)
    if no_data is not None:
        kept &= values != no_data
    return values[kept]


def _number(tag: object) -> float | None:
    """Read a tag as a finite number: the first one, where it has one per channel."""
    first = tag[0] if isinstance(tag, tuple) and tag else tag
    try:
        value = float(str(first).strip("\0 "))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
