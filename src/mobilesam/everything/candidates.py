"""An answer of the decoder on its way to a mask: judged small, made at the photo's size only if it survives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilesam import masks
from mobilesam.everything.filters import inclusive_box, is_cut_by_crop, nms, stability_score
from mobilesam.everything.grid import Box
from mobilesam.everything.settings import EverythingSettings
from mobilesam.predict.results import Prediction

# K masks, H W photo, h w the size at which masks are judged

JUDGED_SIDE = 1024  # pixels; a larger photo's masks are judged at this size, docs/results/everything.md has the error


@dataclass(frozen=True)
class FoundMask:
    """One mask of a photo, as run lengths: a thousand of them are small."""

    rle: masks.Rle
    area: int
    box: Box
    """First and last column and row, the last inside, as SAM's generator counts."""
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    """(x, y) in pixels of the photo, where it was found; the middle of its box for a box prompt."""
    crop_box: Box
    """The crop it was found in: x0, y0, x1, y1."""

    @cached_property
    def array(self) -> NDArray[np.bool_]:
        """(H, W)"""
        return masks.from_rle(self.rle)

    def render(self, hw: tuple[int, int]) -> FoundMask:
        """Itself: it has the photo's size."""
        return self

    def innermost(self) -> tuple[float, float]:
        """(x, y) of the pixel farthest from its border."""
        (x, y), _ = masks.deepest_pixel(self.array)
        return x + 0.5, y + 0.5

    def to_dict(self) -> dict[str, Any]:
        """SA-1B's record of a mask."""
        x0, y0, x1, y1 = self.box
        cx0, cy0, cx1, cy1 = self.crop_box
        return {
            "segmentation": self.rle,
            "area": self.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": self.predicted_iou,
            "point_coords": [list(self.point)],
            "stability_score": self.stability_score,
            "crop_box": [cx0, cy0, cx1 - cx0, cy1 - cy0],
        }


@dataclass(frozen=True)
class Candidate:
    """A sure and stable answer, not yet at the photo's size."""

    prediction: Prediction
    """With this mask alone."""
    box: Box
    """In the photo, as good as the size at which it was judged."""
    area: int
    """In pixels of the photo, likewise."""
    stability_score: float
    point: tuple[float, float]
    crop_box: Box

    @property
    def predicted_iou(self) -> float:
        """The model's own estimate."""
        return float(self.prediction.scores[0])

    def innermost(self) -> tuple[float, float]:
        """(x, y) in the photo of the pixel farthest from its border."""
        mask = masks.threshold(self.prediction.logits(0, judged_size(self.prediction.original_hw)))  # (h, w)
        (x, y), _ = masks.deepest_pixel(mask)
        x0, y0, x1, y1 = self.crop_box
        return x0 + (x + 0.5) * (x1 - x0) / mask.shape[1], y0 + (y + 0.5) * (y1 - y0) / mask.shape[0]

    @property
    def nbytes(self) -> int:
        """Of the logits that wait."""
        return self.prediction.low_res.nbytes

    def render(self, hw: tuple[int, int]) -> FoundMask:
        """The mask in a photo of (H, W)."""
        mask = masks.threshold(self.prediction.logits(0))
        x0, y0, x1, y1 = inclusive_box(mask)
        left, top, right, bottom = self.crop_box
        box = (x0 + left, y0 + top, x1 + left, y1 + top)
        area = int(np.count_nonzero(mask))
        if mask.shape != hw:
            canvas = np.zeros(hw, bool)
            canvas[top:bottom, left:right] = mask
            mask = canvas
        rle = masks.to_rle(mask)
        return FoundMask(rle, area, box, self.predicted_iou, self.stability_score, self.point, self.crop_box)


Found = Candidate | FoundMask
Kind = TypeVar("Kind", bound=Found)


def judge(
    prediction: Prediction,
    crop: Box,
    point: tuple[float, float],
    hw: tuple[int, int],
    min_score: float,
    settings: EverythingSettings,
) -> Iterator[Candidate]:
    """The masks of one answer that are sure, stable and not cut off by their crop of a photo of (H, W)."""
    assert settings.stability_score_thresh is not None
    for i, score in enumerate(prediction.scores):
        if score <= min_score:
            continue
        logits = prediction.logits(i, judged_size(prediction.original_hw))  # (h, w)
        stability = stability_score(logits, settings.stability_score_offset)
        if stability < settings.stability_score_thresh:
            continue
        mask = masks.threshold(logits)
        box = in_photo(inclusive_box(mask), mask.shape, crop)
        if is_cut_by_crop(box, crop, hw):
            continue
        # Copied, because a view would keep the logits of the whole batch.
        alone = replace(prediction, low_res=prediction.low_res[i : i + 1].copy(), scores=prediction.scores[i : i + 1])
        area = round(np.count_nonzero(mask) / mask.size * prediction.original_hw[0] * prediction.original_hw[1])
        yield Candidate(alone, box, area, float(stability), point, crop)


def judged_size(hw: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a photo → (h, w) at which its masks are judged: the same up to `JUDGED_SIDE`."""
    scale = min(1.0, JUDGED_SIDE / max(hw))
    return max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))


def in_photo(box: Box, hw: tuple[int, ...], crop: Box) -> Box:
    """A box with its last pixels inside, found at (h, w) → the same in the photo that the crop is part of."""
    left, top, right, bottom = crop
    x, y = (right - left) / hw[1], (bottom - top) / hw[0]
    x0, y0, x1, y1 = box
    if (x, y) == (1, 1) or box == (0, 0, 0, 0):
        return x0 + left, y0 + top, x1 + left, y1 + top
    return round(x0 * x) + left, round(y0 * y) + top, round((x1 + 1) * x) - 1 + left, round((y1 + 1) * y) - 1 + top


def suppress(found: Sequence[Kind], scores: Sequence[float], threshold: float) -> list[Kind]:
    """Non-maximum suppression by the masks' boxes."""
    if not found:
        return []
    boxes = np.array([mask.box for mask in found], float)
    return [found[i] for i in nms(boxes, np.array(scores, float), threshold)]
