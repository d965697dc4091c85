"""Boxes. The format is in the name: `xyxy` corners or `xywh` corner and size, in pixels, right and bottom exclusive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def from_mask(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Tight xyxy box around the True pixels of (H, W); (0, 0, 0, 0) where there are none."""
    rows, columns = np.asarray(mask.any(axis=1)), np.asarray(mask.any(axis=0))
    if not rows.any():
        return 0, 0, 0, 0
    y0, y1 = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
    x0, x1 = int(columns.argmax()), len(columns) - int(columns[::-1].argmax())
    return x0, y0, x1, y1


def xyxy_to_xywh(box_xyxy: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Corners → corner and size, COCO's `bbox`."""
    x0, y0, x1, y1 = box_xyxy
    return x0, y0, x1 - x0, y1 - y0
