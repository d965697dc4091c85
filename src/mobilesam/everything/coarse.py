"""Coarse-to-fine search: selects the points of the full grid to use after a coarser grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mobilesam.everything.candidates import Candidate
from mobilesam.everything.grid import Points

# N points, p coarse points along a side


def near_small(points: Points, found: Sequence[Candidate], per_side: int, small_share: float) -> NDArray[np.bool_]:
    """Which points (N, 2) in the unit square of a crop are next to a coarse point where a small mask was found.

    Args:
        points: points of the full grid.
        found: masks of the coarse grid.
        per_side: number of points along a side of the coarse grid.
        small_share: a mask that covers a smaller fraction of its crop is small.

    Returns:
        (N,) True where one of the four coarse points around a point has a small mask.
    """
    smallest = np.ones((per_side, per_side))  # fraction of the crop that the smallest mask at each coarse point covers
    for mask in found:
        x0, y0, x1, y1 = mask.crop_box_xyxy
        column = int((mask.point_xy[0] - x0) / (x1 - x0) * per_side)
        row = int((mask.point_xy[1] - y0) / (y1 - y0) * per_side)
        share = mask.area / ((x1 - x0) * (y1 - y0))
        smallest[row, column] = min(smallest[row, column], share)
    first = np.floor(points * per_side - 0.5).astype(int)  # coarse point to the upper left
    x, y = (np.clip([first[:, i], first[:, i] + 1], 0, per_side - 1) for i in (0, 1))  # (2, N)
    return np.asarray(smallest[y[:, None], x[None]].min(axis=(0, 1)) < small_share)


def is_covered(points: Points, found: Sequence[Candidate], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Which points (N, 2) of a photo (H, W) lie in at least one of the masks: (N,) booleans."""
    x, y = points.astype(int).T
    covered = np.zeros(len(points), bool)
    for mask in found:
        covered |= mask.array(hw)[y, x]
    return covered
