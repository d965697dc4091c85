"""Bounding boxes in pixels, right and bottom exclusive; names say `xyxy` (corners) or `xywh` (corner and size)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

if TYPE_CHECKING:
    from mobilesam.masks import Rle


def from_mask(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Tight xyxy box around the True pixels of (H, W); (0, 0, 0, 0) where there are none."""
    rows, columns = np.asarray(mask.any(axis=1)), np.asarray(mask.any(axis=0))
    if not rows.any():
        return 0, 0, 0, 0
    y0, y1 = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
    x0, x1 = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    return x0, y0, x1, y1


def from_rle(rle: Rle) -> tuple[int, int, int, int]:
    """Tight xyxy box of COCO's run lengths, as `from_mask` but without decoding them."""
    x, y, width, height = (int(side) for side in coco_mask.toBbox(rle))
    return (x, y, x + width, y + height) if width and height else (0, 0, 0, 0)


def xyxy_to_xywh(box_xyxy: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Convert corners to corner and size, the format of COCO's `bbox`."""
    x0, y0, x1, y1 = box_xyxy
    return x0, y0, x1 - x0, y1 - y0


def to_inclusive(box_xyxy: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Convert to SAM's convention, in which right and bottom are inclusive; an empty box stays unchanged."""
    x0, y0, x1, y1 = box_xyxy
    return (x0, y0, x1 - 1, y1 - 1) if x1 > x0 and y1 > y0 else box_xyxy
