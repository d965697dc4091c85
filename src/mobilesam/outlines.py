"""Outlines of masks for formats that fill polygons: along the edges of pixels, and as one polygon without holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mobilesam.masks import Polygon

# K corners


def pixel_edges(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Closed outlines of (H, W) along the edges of its pixels, holes as outlines of their own.

    Filled by the even-odd rule they give exactly the mask. Each is (K, 2) (x, y), in turn one step across and one down;
    pixel (0, 0) reaches from (0, 0) to (1, 1).
    """
    padded = np.pad(mask, 1)
    turns = padded[1:, 1:] ^ padded[:-1, 1:] ^ padded[1:, :-1] ^ padded[:-1, :-1]  # (H+1, W+1)
    # Two pixels that touch at a corner alone: the outline passes that point twice.
    touch = (padded[1:, 1:] == padded[:-1, :-1]) & (padded[1:, :-1] == padded[:-1, 1:])
    touch &= padded[1:, 1:] != padded[1:, :-1]
    y, x = np.nonzero(turns | touch)
    times = np.where(touch[y, x], 2, 1)
    y, x = np.repeat(y, times), np.repeat(x, times)
    # Along a row, and along a column, the first corner is joined to the second, the third to the fourth, and so on.
    across = partners(np.arange(len(x)))  # np.nonzero goes row by row
    down = partners(np.lexsort((y, x)))
    outlines, is_done = [], np.zeros(len(x), bool)
    for first in range(len(x)):
        at, ring = first, []
        while not is_done[at]:
            beside = across[at]
            ring += [at, beside]
            is_done[[at, beside]] = True
            at = down[beside]
        if ring:
            outlines.append(np.stack([x[ring], y[ring]], axis=1))
    return outlines


def partners(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each of K things, the one beside it when they are taken in pairs in this order: (K,)."""
    found = np.empty_like(order)
    found[order[0::2]], found[order[1::2]] = order[1::2], order[0::2]
    return found


def without_holes(polygon: Polygon) -> NDArray[np.int32]:
    """A polygon with holes as one outline: a cut leads to each hole and back, over pixels of the object alone.

    For formats that know no holes. Filled together with its outline, as LabelMe does, it gives exactly the piece.
    Returns (K, 2) (x, y), K at least 3.
    """
    ring = polygon.outer
    # From left to right, so that whatever lies to the left of a hole is part of the ring already.
    for hole in sorted(polygon.holes, key=lambda hole: int(hole[:, 0].min())):
        start = int(hole[:, 0].argmin())
        hole = np.roll(hole, -start, axis=0)
        i, meeting = left_of(hole[0], ring)
        ring = np.concatenate([ring[: i + 1], meeting[None], hole, hole[:1], meeting[None], ring[i + 1 :]])
    return ring if len(ring) > 2 else np.resize(ring, (3, 2))


def left_of(point: NDArray[np.int32], ring: NDArray[np.int32]) -> tuple[int, NDArray[np.int32]]:
    """Where a ring is met first, going left from a point (x, y): index of the edge's first corner, and the pixel."""
    ends = np.roll(ring, -1, axis=0)
    low, high = np.minimum(ring[:, 1], ends[:, 1]), np.maximum(ring[:, 1], ends[:, 1])
    crosses = np.flatnonzero((low <= point[1]) & (point[1] <= high))
    (x0, y0), (x1, y1) = ring[crosses].T, ends[crosses].T
    # Edges of a contour are level, upright or diagonal; of a level one the right end comes first.
    at = np.where(y0 == y1, np.maximum(x0, x1), x0 + np.sign(x1 - x0) * abs(point[1] - y0))
    at = np.where((y0 == y1) & (np.minimum(x0, x1) <= point[0]) & (point[0] <= at), point[0], at)
    at = np.where(at <= point[0], at, -1)
    best = int(at.argmax())
    return int(crosses[best]), np.array([at[best], point[1]], np.int32)
