"""Numbers from masks, and intervals from numbers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

BOUNDARY_RATIO = 0.02
AR_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO's


def iou(predicted: Mask, truth: Mask, ignored: Mask | None = None) -> float:
    """Intersection over union outside the ignored pixels; two empty masks agree completely."""
    if ignored is not None:
        predicted, truth = predicted & ~ignored, truth & ~ignored
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def boundary(mask: Mask, ratio: float = BOUNDARY_RATIO) -> Mask:
    """Pixels of the mask within `ratio` of the photo's diagonal of its border (Cheng et al., arXiv 2103.16562)."""
    width = max(1, round(ratio * float(np.hypot(*mask.shape))))
    padded = np.pad(mask.astype(np.uint8), 1)  # the photo's border is a border of the mask too
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)
    return mask & ~eroded[1:-1, 1:-1].astype(bool)


def boundary_iou(predicted: Mask, truth: Mask, ignored: Mask | None = None) -> float:
    """IoU of the two boundaries."""
    return iou(boundary(predicted), boundary(truth), ignored)


def components(mask: Mask) -> int:
    """Connected pieces of a mask (8-connected); 0 for an empty one. A mask with islands and specks has many."""
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count - 1


def size_class(area: float) -> str:
    """COCO's classes by area in pixels: S below 32², L from 96², M between."""
    return "S" if area < 32**2 else "M" if area < 96**2 else "L"


def bootstrap(values: Sequence[float], photos: Sequence[str], *, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over objects when photos are drawn anew: objects of one photo are not independent.

    Args:
        values: one per object.
        photos: the photo of each.
        draws: number of resamples; seeded, so that a second run gives the same digits.
    """
    names, index = np.unique(np.asarray(photos), return_inverse=True)
    sums = np.bincount(index, weights=np.asarray(values, float))
    counts = np.bincount(index).astype(float)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(names), (draws, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def average_recall(ious: NDArray[np.float64], limit: int) -> float:
    """Mean recall over IoU 0.50-0.95 of the first `limit` proposals of one photo.

    Args:
        ious: (num_proposals, num_truths), proposals in the order of their scores.
        limit: how many count: 10, 100, 1000.

    A truth is recalled at a threshold when the greedy one-to-one matching, best pairs first, gives it that IoU.
    """
    if ious.shape[1] == 0:
        return float("nan")
    kept = ious[:limit].copy()
    matched = np.zeros(ious.shape[1])
    for _ in range(min(kept.shape)):
        row, column = np.unravel_index(int(kept.argmax()), kept.shape)
        if kept[row, column] <= 0:
            break
        matched[column] = kept[row, column]
        kept[row, :] = -1
        kept[:, column] = -1
    return float((matched[:, None] >= AR_THRESHOLDS).mean())


def calibration(scores: Sequence[float], ious: Sequence[float], *, num_bins: int = 10) -> list[dict[str, float]]:
    """Predicted against true IoU: one row per tenth of the score in which masks fall."""
    score, truth = np.clip(np.asarray(scores, float), 0, 1), np.asarray(ious, float)
    bins = np.minimum((score * num_bins).astype(int), num_bins - 1)
    return [
        {
            "from": i / num_bins,
            "to": (i + 1) / num_bins,
            "count": int((bins == i).sum()),
            "mean_score": float(score[bins == i].mean()),
            "mean_iou": float(truth[bins == i].mean()),
        }
        for i in range(num_bins)
        if (bins == i).any()
    ]
