"""Mask filters: stability, crop edges, NMS (non-maximum suppression) and small regions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.boxes import to_inclusive
from mobilesam.contract import MASK_THRESHOLD
from mobilesam.everything.grid import Box

EDGE_TOLERANCE = 20  # pixels, the reference's


def stability_score(logits: NDArray[np.float32], offset: float) -> float:
    """Stability of logits (H, W), 0-1: IoU of the masks at thresholds `offset` above and below the usual one.

    One mask contains the other, so their IoU is a ratio of areas. It is 0 if no logit exceeds the lower threshold.
    """
    low = np.count_nonzero(logits > MASK_THRESHOLD - offset)
    return np.count_nonzero(logits > MASK_THRESHOLD + offset) / low if low else 0.0


def is_cut_by_crop(box_xyxy: Box, crop: Box, hw: tuple[int, int]) -> bool:
    """Whether a box ends at an edge of its crop that is not also an edge of the photo, so the mask is cut off."""
    h, w = hw
    sides = zip(to_inclusive(box_xyxy), crop, (0, 0, w, h), strict=True)  # as SAM, to keep the same masks
    return any(abs(b - c) <= EDGE_TOLERANCE and abs(b - p) > EDGE_TOLERANCE for b, c, p in sides)


def suppress(boxes_xyxy: Sequence[Box], scores: Sequence[float], threshold: float) -> list[int]:
    """NMS with SAM's inclusive boxes: indices of the N boxes that are kept, highest score first."""
    corners = np.array([to_inclusive(box) for box in boxes_xyxy], float).reshape(-1, 4)
    return nms(corners, np.array(scores, float), threshold)


def nms(boxes_xyxy: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> list[int]:
    """Greedy non-maximum suppression (NMS): indices of the boxes that are kept, highest score first.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,)
        threshold: a box is dropped if its IoU with a kept box of higher score exceeds this.
    """
    order = np.argsort(-scores, kind="stable")  # equal scores in the given order, as the reference
    x0, y0, x1, y1 = boxes_xyxy.T
    areas = (x1 - x0) * (y1 - y0)
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.clip(np.minimum(x1[best], x1[rest]) - np.maximum(x0[best], x0[rest]), 0, None)
        height = np.clip(np.minimum(y1[best], y1[rest]) - np.maximum(y0[best], y0[rest]), 0, None)
        intersection = width * height
        union = areas[best] + areas[rest] - intersection
        iou = np.divide(intersection, union, out=np.zeros_like(union, dtype=float), where=union > 0)
        order = rest[iou <= threshold]
    return kept


def remove_small_regions(mask: NDArray[np.bool_], min_area: int, *, holes: bool) -> tuple[NDArray[np.bool_], bool]:
    """Fill holes, or remove islands, of fewer than `min_area` pixels; the largest island is always kept.

    Returns:
        The mask, and whether anything changed.
    """
    work = (~mask if holes else mask).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(work, connectivity=8)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    small = [i + 1 for i in range(count - 1) if sizes[i] < min_area]
    if not small:
        return mask, False
    if holes:
        return mask | np.isin(labels, small), True
    kept = [i for i in range(1, count) if i not in small] or [int(np.argmax(sizes)) + 1]
    return np.isin(labels, kept), True
