"""Metrics of masks (IoU, boundary IoU, components), bootstrap intervals, and calibration bins."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilesam import masks
from mobilesam.data.photo import PhotoId
from mobilesam.evaluate.summaries import CalibrationBin

Pixels = NDArray[np.bool_]
"""A mask (H, W), true on the object."""

BOUNDARY_RATIO = 0.02
CONTOUR_RATIO = 0.008  # of DAVIS


def iou(predicted: Pixels, truth: Pixels, ignored: Pixels | None = None) -> float:
    """Intersection over union (IoU) without the ignored pixels; 1 for two empty masks."""
    if ignored is not None:
        predicted, truth = predicted & ~ignored, truth & ~ignored
    return masks.iou(predicted, truth)


def boundary(mask: Pixels, ratio: float = BOUNDARY_RATIO) -> Pixels:
    """Boundary region of a mask, as wide as `ratio` times the photo's diagonal (Cheng et al., arXiv 2103.16562)."""
    width = max(1, round(ratio * float(np.hypot(*mask.shape))))
    padded = np.pad(mask.astype(np.uint8), 1)  # as in the paper: a mask ends at the edge of the photo
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)
    return mask & ~eroded[1:-1, 1:-1].astype(bool)


def boundary_iou(predicted: Pixels, truth: Pixels, ignored: Pixels | None = None) -> float:
    """Boundary IoU: IoU of the boundary regions of two masks (arXiv 2103.16562)."""
    # Boundaries are taken before pixels are ignored: the edge of an ignored area is not an edge of the object.
    return iou(boundary(predicted), boundary(truth), ignored)


def contour_accuracy(predicted: Pixels, truth: Pixels) -> float:
    """F-measure of the contours of two masks, the F of DAVIS (Perazzi et al., CVPR 2016, section 5.1).

    Precision is the share of the predicted contour's pixels that lie near the true contour, recall that of the true
    contour's near the predicted one; near is within 0.8 % of the frame's diagonal. 1 for two empty masks.
    """
    tolerance = np.ceil(CONTOUR_RATIO * float(np.hypot(*truth.shape)))
    ours, theirs = contour(predicted), contour(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = float((_distance_to(theirs)[ours] <= tolerance).mean())
    recall = float((_distance_to(ours)[theirs] <= tolerance).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: Pixels) -> Pixels:
    """Pixels of which a mask differs to the right, below or between; the edge of the photo is no contour."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])


def _distance_to(pixels: Pixels) -> NDArray[np.float32]:
    """Distance of each pixel to the nearest of some pixels."""
    return np.asarray(cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def components(mask: Pixels) -> int:
    """Number of 8-connected components of a mask, 0 if it is empty; islands and specks make it high."""
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return count - 1  # the background is a component too


def size_class(area: float) -> str:
    """COCO's size class of an area in pixels: S below 32², L from 96², M between."""
    # By the area of the annotated mask, not of its box, as pycocotools does.
    return "S" if area < 32**2 else "M" if area < 96**2 else "L"


def bootstrap(values: Sequence[float], photos: Sequence[PhotoId]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over objects, resampling photos.

    Args:
        values: one per object.
        photos: the photo of each object.

    Returns:
        low, high; NaN if there is no object.
    """
    # Photos and not objects are resampled, because objects of one photo are not independent: an interval that took
    # them for independent would be too narrow.
    if not photos:
        return float("nan"), float("nan")
    place = {photo: i for i, photo in enumerate(sorted(set(photos), key=photo_order))}
    index = np.array([place[photo] for photo in photos])
    return bootstrap_ratio(np.bincount(index, weights=np.asarray(values, float)), np.bincount(index))


def bootstrap_ratio(sums: ArrayLike, counts: ArrayLike, *, draws: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of a ratio of sums over photos, resampling photos.

    Args:
        sums: (num_photos,) numerator of each photo.
        counts: (num_photos,) denominator of each photo, such as its number of objects.
        draws: number of resamples; seeded, so that a second run gives the same digits.
    """
    sums, counts = np.asarray(sums, float), np.asarray(counts, float)
    drawn = np.random.default_rng(0).integers(0, len(sums), (draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def photo_order(photo: PhotoId) -> tuple[str, str]:
    """Sort key of photos: by path, then by data set."""
    # The seeded draws of `bootstrap` pick photos by their position, so another order would change published digits.
    return photo.path, photo.dataset


def calibration(scores: Sequence[float], ious: Sequence[float], *, num_bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Calibration bins of scores against true IoUs, of equal width in the score; empty bins are left out."""
    score, truth = np.clip(np.asarray(scores, float), 0, 1), np.asarray(ious, float)
    bins = np.minimum((score * num_bins).astype(int), num_bins - 1)  # a score of exactly 1 belongs to the last bin
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
