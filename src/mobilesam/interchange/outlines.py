"""Outlines of masks along pixel edges, so that filling them restores the mask exactly.

trace(mask)          connected pieces, each with its holes
join(outlines)       all of them as one polygon, as the forms that know neither holes nor parts want it

A vertex (x, y) is a corner of pixels: pixel (x, y) covers x to x + 1 and y to y + 1. pycocotools, and any filling by
the even-odd rule that tests the centres of pixels, gives exactly the mask. `masks.to_polygons` is the other convention,
OpenCV's: through the centres of the border's pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes

# H W mask, C corners, E = C / 2 horizontal edges, K vertices of an outline, L loops

PAIRS = (2**8, 2**18)  # smallest and largest number of vertices to compare for one bridge
ALL_PAIRS = 2**25
STRIP = 32  # pixels: loops are sorted in strips of this height, so that consecutive ones are near each other


@dataclass(frozen=True)
class Outline:
    """Outline of one connected piece of a mask and of its holes; pixels connect at sides or corners.

    Each is (K, 2) int32 (x, y) corners of pixels, 0 to W and 0 to H, not closed by a repeated vertex. The object lies
    to the right of each outline's direction, so that holes run the other way round.
    """

    outer: NDArray[np.int32]
    holes: tuple[NDArray[np.int32], ...] = ()


def trace(mask: NDArray[np.bool_]) -> list[Outline]:
    """Trace the outlines of a mask's connected pieces (H, W), with holes, thin lines and single pixels."""
    x0, y0, x1, y1 = boxes.from_mask(mask)
    if x1 == x0:
        return []
    part = np.ascontiguousarray(mask[y0:y1, x0:x1])
    corners, following = _corners(np.pad(part, 1))
    loops = _loops(following)
    tails = np.concatenate([np.array(loop) for loop in loops])  # (E,) where horizontal edges begin, loop after loop
    firsts = np.cumsum([0, *(len(loop) for loop in loops[:-1])])  # (L,)
    points = corners[np.stack([tails, tails ^ 1], axis=1).ravel()]  # (C, 2)
    # The shoelace sum over horizontal edges; positive where the inside is on the right, with y downwards.
    (x, y), goes_left = points[0::2].T.astype(np.int64), points[0::2, 0].astype(np.int64) - points[1::2, 0]
    is_outer = np.add.reduceat(goes_left * y, firsts) > 0
    # The label of the object pixel beside each loop's first edge is the number of the loop's piece.
    _, pieces = cv2.connectedComponents(part.view(np.uint8), connectivity=8)
    is_above = goes_left[firsts] > 0
    left = np.where(is_above, x[firsts] - goes_left[firsts], x[firsts])
    owners = pieces[y[firsts] - is_above, left]
    outer: dict[int, NDArray[np.int32]] = {}
    holes: dict[int, list[NDArray[np.int32]]] = {}
    points += np.array([x0, y0], np.int32)
    for owner, is_outside, loop in zip(
        owners.tolist(), is_outer.tolist(), np.split(points, 2 * firsts[1:]), strict=True
    ):
        if is_outside:
            outer[owner] = loop
        else:
            holes.setdefault(owner, []).append(loop)
    return [Outline(loop, tuple(holes.get(owner, ()))) for owner, loop in outer.items()]


def join(outlines: Sequence[Outline]) -> NDArray[np.int32]:
    """Join all pieces and holes into one polygon: (K, 2) int32, empty for none.

    Bridges between loops are walked there and back, so they have no width, and filling is as exact as without them.
    Each loop is tied to a near vertex of those before it.
    """
    loops = [loop for outline in outlines for loop in (outline.outer, *outline.holes)]
    if not loops:
        return np.zeros((0, 2), np.int32)
    loops.sort(key=lambda loop: (int(loop[0, 0]) // STRIP, int(loop[0, 1])))
    starts = np.cumsum([0, *(len(loop) for loop in loops)]).tolist()
    points = np.concatenate(loops)  # (K, 2)
    # The successor of each vertex; a bridge from a to b adds copies of both, for the way back.
    copies = np.arange(len(points) + 2 * len(loops))
    after = [i + 1 for i in range(starts[-1])] + [0] * (2 * len(loops))
    for start, end in pairwise(starts):
        after[end - 1] = start
    free = starts[-1]
    budget = int(np.clip(ALL_PAIRS // len(loops), *PAIRS))
    for start, end in pairwise(starts[1:]):
        a, b = _nearest(points, start, end, budget)
        before_b = end - 1 if b == start else b - 1
        copies[free], copies[free + 1] = b, a
        after[before_b], after[free], after[free + 1], after[a] = free, free + 1, after[a], b
        free += 2
    order, at = [0], after[0]
    while at != 0:
        order.append(at)
        at = after[at]
    return points[copies[order]]


def _corners(padded: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find the corners of a padded mask's outlines: (C, 2) (x, y); corners i and i ^ 1 share a horizontal edge.

    The second array holds, for a corner where a loop's horizontal edge begins, the corner where its next one begins;
    -1 for corners where one ends.
    """
    view = padded.view(np.uint8)
    # Which of the four pixels around each corner belong to the object: 1 above left, 2 above right, 4 and 8 below.
    around = view[:-1, :-1] | view[:-1, 1:] << 1 | view[1:, :-1] << 2 | view[1:, 1:] << 3
    is_odd = np.isin(around, (1, 2, 4, 8, 7, 11, 13, 14, 6, 9))
    y, x = np.nonzero(is_odd)
    kind = around[y, x]
    is_double = (kind == 6) | (kind == 9)  # two pixels that touch at this corner alone: two corners in one place
    repeats = 1 + is_double
    y, x, kind = np.repeat(y, repeats), np.repeat(x, repeats), np.repeat(kind, repeats)
    number = np.arange(len(x))
    # Along a row corners pair up one after another, and along a column too. Of a double one, the first has its edge on
    # the left. Whether it goes on upwards or downwards decides if the two pixels are one piece; they are.
    is_second = np.concatenate([[False], (x[1:] == x[:-1]) & (y[1:] == y[:-1])])
    goes_down_first = np.where(kind == 9, ~is_second, is_second)
    column = np.lexsort((goes_down_first, y, x))
    below_or_above = np.empty_like(number)
    below_or_above[column[0::2]], below_or_above[column[1::2]] = column[1::2], column[0::2]
    left = number[0::2]
    object_is_below = padded[y[left] + 1, x[left] + 1]
    tails = np.where(object_is_below, left, left + 1)
    following = np.full(len(x), -1)
    following[tails] = below_or_above[tails ^ 1]
    return np.stack([x, y], axis=1).astype(np.int32), following


def _loops(following: NDArray[np.int64]) -> list[list[int]]:
    """Follow the outlines: cycles of the corners where horizontal edges begin."""
    after = following.tolist()
    loops: list[list[int]] = []
    for first in range(len(after)):
        at, loop = first, []
        while after[at] >= 0:
            loop.append(at)
            after[at], at = -1, after[at]
        if loop:
            loops.append(loop)
    return loops


def _nearest(points: NDArray[np.int32], start: int, end: int, budget: int) -> tuple[int, int]:
    """Find a vertex before `start` and one in start to end that are close; the closest if few are to compare."""
    loop = points[start:end]
    step = max(1, len(loop) // max(1, budget // 16))
    loop = loop[::step]
    first = max(0, start - max(1, budget // len(loop)))
    apart = np.abs(points[first:start, None] - loop[None]).sum(axis=2)  # (before, loop)
    a, b = np.unravel_index(int(apart.argmin()), apart.shape)
    return first + int(a), start + int(b) * step
