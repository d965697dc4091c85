"""Numbers from masks, and intervals from numbers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilesam.data.photo import PhotoId
from mobilesam.evaluate.summaries import CalibrationBin

Mask = NDArray[np.bool_]

BOUNDARY_RATIO = 0.02


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


def bootstrap(values: Sequence[float], photos: Sequence[PhotoId]) -> tuple[float, float]:
    """95 % interval of the mean over objects when photos are drawn anew: objects of one photo are not independent.

    Args:
        values: one per object.
        photos: the photo of each.
    """
    place = {photo: i for i, photo in enumerate(sorted(set(photos), key=photo_order))}
    index = np.array([place[photo] for photo in photos])
    return bootstrap_ratio(np.bincount(index, weights=np.asarray(values, float)), np.bincount(index))


def bootstrap_ratio(sums: ArrayLike, counts: ArrayLike, *, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of sum / count when photos are drawn anew.

    Args:
        sums: (num_photos,) what each photo adds to the sum.
        counts: (num_photos,) number of objects of each.
        draws: number of resamples; seeded, so that a second run gives the same digits.
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    drawn = np.random.default_rng(0).integers(0, len(sums), (draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def photo_order(photo: PhotoId) -> tuple[str, str]:
    """Sorts photos by path before data set, the order in which the seeded draws of `bootstrap` meet them."""
    return photo.path, photo.dataset


def calibration(scores: Sequence[float], ious: Sequence[float], *, num_bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Predicted against true IoU: one bin per tenth of the score in which masks fall."""
    score, truth = np.clip(np.asarray(scores, float), 0, 1), np.asarray(ious, float)
    bins = np.minimum((score * num_bins).astype(int), num_bins - 1)
    return tuple(
        CalibrationBin(
            start=i / num_bins,
            end=(i + 1) / num_bins,
            count=int((bins == i).sum()),
            mean_score=float(score[bins == i].mean()),
            mean_iou=float(truth[bins == i].mean()),
        )
        for i in range(num_bins)
        if (bins == i).any()
    )
