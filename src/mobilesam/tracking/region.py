"""Where in a frame an object is looked for: a square around its box."""

from __future__ import annotations

import numpy as np

from mobilesam.region import BoxXyxy, Region

SMALLEST = 48  # pixels of a side; smaller regions are only blurred by enlarging them


def square_around(box: BoxXyxy, factor: float, frame_hw: tuple[int, int]) -> Region:
    """A square of `factor` times the longer side of a box; moved into the frame, and cut where it is larger."""
    x0, y0, x1, y1 = box
    side = max(factor * max(x1 - x0, y1 - y0), SMALLEST)
    left, right = _span((x0 + x1) / 2, side, frame_hw[1])
    top, bottom = _span((y0 + y1) / 2, side, frame_hw[0])
    return Region(left, top, right, bottom)


def _span(centre: float, side: float, length: int) -> tuple[int, int]:
    if side >= length:
        return 0, length
    size = max(1, round(side))
    start = int(np.clip(round(centre - size / 2), 0, length - size))
    return start, start + size
