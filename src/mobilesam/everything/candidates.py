"""Candidate masks: filtered at reduced resolution, and scaled up to the photo only if NMS keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes, masks
from mobilesam.everything.filters import is_cut_by_crop, stability_score
from mobilesam.everything.grid import Box
from mobilesam.everything.results import FoundMask
from mobilesam.everything.settings import EverythingSettings
from mobilesam.image import Rgb
from mobilesam.predict.results import Prediction

# K masks, H W photo, h w the reduced size at which masks are filtered

JUDGED_SIDE = 1024  # pixels; masks of larger photos are filtered at this size (error: docs/results/everything.md)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that passed the score and stability filters, before NMS; internal, `found` makes the public mask."""

    answer: Prediction | masks.Rle
    """Only this mask: logits, or RLE at the photo's size where logits of all candidates take too much memory."""
    score: float
    box_xyxy: Box
    """In pixels of the photo, right and bottom exclusive; as exact as the size at which the mask was filtered."""
    area: int
    """In pixels of the photo, as exact as the box."""
    stability_score: float
    point_xy: tuple[float, float]
    crop_box_xyxy: Box

    @property
    def nbytes(self) -> int:
        """Memory of the logits in bytes; 0 for RLE."""
        return self.answer.low_res.nbytes if isinstance(self.answer, Prediction) else 0

    def innermost(self) -> tuple[float, float]:
        """(x, y) in the photo of the mask's innermost pixel, the one farthest from the border of the mask."""
        if not isinstance(self.answer, Prediction):
            (x, y), _ = masks.deepest_pixel(masks.from_rle(self.answer, masks.size(self.answer)))
            return x + 0.5, y + 0.5
        mask = masks.threshold(self.answer.logits(0, judged_size(self.answer.original_hw)))  # (h, w)
        (x, y), _ = masks.deepest_pixel(mask)
        x0, y0, x1, y1 = self.crop_box_xyxy
        return x0 + (x + 0.5) * (x1 - x0) / mask.shape[1], y0 + (y + 0.5) * (y1 - y0) / mask.shape[0]

    def array(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask at the size (H, W) of the photo."""
        if not isinstance(self.answer, Prediction):
            return masks.from_rle(self.answer, hw)
        mask = masks.threshold(self.answer.logits(0))
        if mask.shape == hw:
            return mask
        left, top, right, bottom = self.crop_box_xyxy
        canvas = np.zeros(hw, bool)
        canvas[top:bottom, left:right] = mask
        return canvas

    def small(self, hw: tuple[int, int]) -> Candidate:
        """The same candidate as RLE at the size (H, W) of the photo, with its exact box and area."""
        if not isinstance(self.answer, Prediction):
            return self
        rle = masks.to_rle(self.array(hw))
        return replace(self, answer=rle, box_xyxy=boxes.from_rle(rle), area=masks.area(rle))

    def found(self, hw: tuple[int, int], photo: Rgb | None) -> FoundMask:
        """The public mask at the size (H, W) of the photo."""
        return FoundMask(
            masks.to_rle(self.array(hw)) if isinstance(self.answer, Prediction) else self.answer,
            self.score,
            photo,
            stability_score=self.stability_score,
            point_xy=self.point_xy,
            crop_box_xyxy=self.crop_box_xyxy,
        )


def judge(
    prediction: Prediction,
    crop: Box,
    point: tuple[float, float],
    hw: tuple[int, int],
    min_score: float,
    settings: EverythingSettings,
) -> Iterator[Candidate]:
    """The masks of one prediction that pass the filters of score, stability and crop edges."""
    assert settings.stability_score_thresh is not None
    for i, score in enumerate(prediction.scores):
        if score <= min_score:
            continue
        logits = prediction.logits(i, judged_size(prediction.original_hw))  # (h, w)
        stability = stability_score(logits, settings.stability_score_offset)
        if stability < settings.stability_score_thresh:
            continue
        mask = masks.threshold(logits)
        box = in_photo(boxes.from_mask(mask), mask.shape, crop)
        if is_cut_by_crop(box, crop, hw):
            continue
        # Copied, because a view would keep the logits of the whole batch.
        alone = replace(
            prediction, low_res=prediction.low_res[i : i + 1].copy(), scores=prediction.scores[i : i + 1], photo=None
        )
        area = round(np.count_nonzero(mask) / mask.size * prediction.original_hw[0] * prediction.original_hw[1])
        yield Candidate(alone, float(score), box, area, float(stability), point, crop)


def judged_size(hw: tuple[int, int]) -> tuple[int, int]:
    """Size (h, w) at which masks of a photo (H, W) are filtered: at most `JUDGED_SIDE` on the longer side."""
    scale = min(1.0, JUDGED_SIDE / max(hw))
    return max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))


def in_photo(box_xyxy: Box, hw: tuple[int, ...], crop: Box) -> Box:
    """Convert a box in a crop's mask of size (h, w) to pixels of the photo."""
    left, top, right, bottom = crop
    x, y = (right - left) / hw[1], (bottom - top) / hw[0]
    x0, y0, x1, y1 = box_xyxy
    return round(x0 * x) + left, round(y0 * y) + top, round(x1 * x) + left, round(y1 * y) + top
