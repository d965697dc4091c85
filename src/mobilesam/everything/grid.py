"""Grids of point prompts, and the crops of a photo that are searched one by one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(N, 2) (x, y)"""
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels, right and bottom exclusive"""


def point_grid(per_side: int) -> Points:
    """Regular grid of points in the unit square: (per_side², 2), row by row, half a step from the border."""
    at = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(at, at)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def crop_boxes(hw: tuple[int, int], num_layers: int, overlap_ratio: float) -> list[tuple[int, Box]]:
    """SAM's overlapping crops of a photo as (layer, box): the photo itself, then 2^i along each side in layer i.

    https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/utils/amg.py `generate_crop_boxes`
    """
    h, w = hw
    found: list[tuple[int, Box]] = [(0, (0, 0, w, h))]
    for layer in range(1, num_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(h, w) * (2 / per_side))
        width, height = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in (w, h))
        corners = [
            (int((width - overlap) * i), int((height - overlap) * j)) for i in range(per_side) for j in range(per_side)
        ]
        found += [(layer, (x, y, min(x + width, w), min(y + height, h))) for x, y in corners]
    return found
