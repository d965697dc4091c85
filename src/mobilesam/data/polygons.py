"""Polygons from annotation files: checking, clipping and filling them.

pycocotools makes five points for each pixel of an outline and checks none of its numbers: a coordinate of 1e9 takes all
memory, and one that is not a number ends the process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mobilesam.errors import DataError
from mobilesam.rle import MAX_AREA, Rle

# H W photo, K vertices

MIN_NUMBERS = 6
"""Fewest numbers in a polygon: three (x, y) pairs."""
MAX_OUTLINE = 2**22
"""Pixels of outline of one object: a second and 400 MB in pycocotools. A border around 12 megapixels has 14,000."""
FAR = 1e12  # beyond it, scaling and cutting an edge would overflow
AT_ONCE = 32  # pieces that are merged in one call, whose time grows with their square


def check_polygon(polygon: Any) -> NDArray[np.float64]:
    """Check one polygon x0, y0, x1, y1, ... and return its vertices (K, 2).

    Raises:
        DataError: it is no list of at least three pairs of finite numbers.
    """
    if not isinstance(polygon, (list, tuple)):
        raise DataError(f"a polygon is a list of numbers x0, y0, x1, y1, ..., not {polygon!r:.40}")
    try:
        row = np.asarray(polygon)
    except ValueError as error:
        raise DataError("a polygon is a list of numbers, not of lists") from error
    if len(row) and (row.ndim != 1 or row.dtype.kind not in "iuf"):
        raise DataError("a coordinate is not a number")
    if len(row) < MIN_NUMBERS or len(row) % 2:
        raise DataError(f"a polygon needs at least three (x, y) pairs, this one has {len(row)} numbers")
    if not np.isfinite(row).all():
        raise DataError("a coordinate is not a finite number")
    return row.astype(float).reshape(-1, 2)


def check_polygons(polygons: Any) -> tuple[tuple[float, ...], ...]:
    """Check the polygons of one object.

    Raises:
        DataError: there is none, or one of them is malformed.
    """
    if not isinstance(polygons, (list, tuple)) or not polygons:
        raise DataError("no polygon")
    return tuple(tuple(check_polygon(polygon).ravel().tolist()) for polygon in polygons)


def fill(polygons: Iterable[tuple[float, ...]], hw: tuple[int, int], scale: tuple[float, float] = (1, 1)) -> Rle:
    """The union of polygons, filled as pycocotools fills them.

    Parts far outside of the photo are cut off first, which leaves every polygon within twice its side as it is.

    Args:
        polygons: each (x0, y0, x1, y1, ...).
        hw: the photo.
        scale: factors for x and y that make pixels of the numbers.

    Raises:
        DataError: a polygon is malformed, an outline is longer than `MAX_OUTLINE`, or the photo has no possible size.
    """
    if min(hw) < 1 or hw[0] * hw[1] > MAX_AREA:
        raise DataError(f"no mask can be {hw[1]}x{hw[0]} pixels")
    rows = [np.clip(check_polygon(p), -FAR, FAR) * scale for p in polygons]  # each (K, 2)
    rows = [row for row in (clip(row, hw) for row in rows) if len(row) >= MIN_NUMBERS // 2]
    length = sum(outline_length(row) for row in rows)
    if length > MAX_OUTLINE:
        raise DataError(f"the outline is {length:.0f} pixels long; more than {MAX_OUTLINE} are not filled")
    if not rows:
        return _as_text(coco_mask.frPyObjects({"size": list(hw), "counts": [hw[0] * hw[1]]}, *hw))
    pieces = coco_mask.frPyObjects([row.ravel().tolist() for row in rows], *hw)
    while len(pieces) > 1:
        pieces = [coco_mask.merge(pieces[i : i + AT_ONCE]) for i in range(0, len(pieces), AT_ONCE)]
    return _as_text(pieces[0])


def clip(polygon: NDArray[np.float64], hw: tuple[int, int]) -> NDArray[np.float64]:
    """Clip a polygon (K, 2) beyond the photo's border, which leaves the shape inside the photo unchanged."""
    side = max(hw)
    if polygon.min() >= -side and polygon.max() <= 2 * side:
        return polygon
    for axis in (0, 1):
        polygon = _cut(polygon, axis, -side, -1)
        polygon = _cut(polygon, axis, 2 * side, 1)
    return polygon


def outline_length(polygon: NDArray[np.float64]) -> float:
    """Length in pixels of the outline that pycocotools will trace for (K, 2) vertices, which bounds its memory."""
    steps = np.abs(polygon - np.roll(polygon, -1, axis=0)).max(axis=1)
    return float(steps.sum()) + len(polygon)


def _cut(polygon: NDArray[np.float64], axis: int, limit: float, sign: int) -> NDArray[np.float64]:
    """Keep the part of a polygon on one side of a line: below `limit` along `axis` for sign 1, above it for -1."""
    beyond = sign * (polygon[:, axis] - limit)  # (K,)
    after, beyond_after = np.roll(polygon, -1, axis=0), np.roll(beyond, -1)
    crosses = (beyond <= 0) != (beyond_after <= 0)
    share = np.divide(beyond, beyond - beyond_after, out=np.zeros_like(beyond), where=crosses)
    crossing = polygon + share[:, None] * (after - polygon)
    crossing[:, axis] = limit
    both = np.stack([polygon, crossing], axis=1)  # (K, 2 points, 2)
    return both[np.stack([beyond <= 0, crosses], axis=1)]


def _as_text(rle: Any) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
