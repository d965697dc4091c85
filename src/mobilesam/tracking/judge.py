"""Which of the model's masks is the object: agreement with the carried mask and with the object's appearance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes, masks
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.results import Prediction
from mobilesam.region import BoxXyxy
from mobilesam.tracking.settings import TrackSettings

# h w region

SURE = 10.0  # logits beyond this count as this in means
SHARPNESS = 10.0  # a mask whose mark is 0.1 below the best one's weighs 1/e of it in the mean
LARGEST_CHANGE = 2.0  # factors of 2 of the size, beyond which a mask is not even worse
SMALL_PART = 0.15  # parts of the evidence below this share of the largest one are noise


@dataclass(frozen=True)
class Evidence:
    """Where the object should be in a region, as known before the model is prompted."""

    likeness: NDArray[np.float32]
    """(h, w) 0-1, how much each pixel looks like the object."""
    carried: NDArray[np.float32] | None
    """(h, w) 0-1, the last mask moved by optical flow; None where the object is lost."""
    box: BoxXyxy | None
    """Around the carried mask, in pixels of the region."""
    flow_share: float
    """Share of the carried mask in the evidence, 0-1."""
    taken: NDArray[np.float32]
    """(h, w) 0-1, how much each pixel belongs to another object; 0 where there is none."""
    area: float
    """The usual number of pixels of the object, as of recent frames."""

    @property
    def both(self) -> NDArray[np.float32]:
        """(h, w) 0-1, the weighted mean of both, or the likeness alone."""
        if self.carried is None:
            return self.likeness
        share = np.float32(self.flow_share)
        return share * self.carried + (1 - share) * self.likeness


@dataclass(frozen=True)
class Judged:
    """The mask chosen for a region."""

    mask: NDArray[np.bool_]
    """(h, w)"""
    score: float
    """The IoU that the model predicts for it."""
    agreement: float
    """Soft IoU with the likeness, 0-1."""


def decide(image: ImageEmbedding, evidence: Evidence, settings: TrackSettings) -> Judged:
    """Prompt the model for the object in a region, and combine its masks into one."""
    answers = ask(image, evidence)
    found = [(answer, i) for answer in answers for i in range(len(answer))]
    logits = [answer.logits(i) for answer, i in found]
    scores = np.array([float(answer.scores[i]) for answer, i in found])
    marks = np.array([mark(one > 0, score, evidence, settings) for one, score in zip(logits, scores, strict=True)])
    # The mean of the best ones is better than the best one: their errors differ.
    weights = np.exp((marks - marks.max()) * SHARPNESS)
    weights /= weights.sum()
    mean = np.zeros(image.original_hw, np.float32)
    for one, weight in zip(logits, weights, strict=True):
        if weight > 0.01:
            mean += np.float32(weight) * np.clip(one, -SURE, SURE)
    mask = masks.threshold(mean)
    return Judged(mask, float(weights @ scores), soft_iou(mask, evidence.likeness))


def ask(image: ImageEmbedding, evidence: Evidence) -> list[Prediction]:
    """Prompt the model with the boxes and the point of `propose`: up to five predictions of three masks each.

    Where another object is near, its innermost pixel is given as background.
    """
    given, point = propose(evidence)
    points, labels = [point], [1]
    if evidence.taken.max() > 0.5:
        points.append(masks.deepest_pixel(evidence.taken > 0.5)[0])
        labels.append(0)
    answers = image.predict_batch(points=[points], labels=[labels], multimask=True, zoom=False)
    if given:
        answers += image.predict_batch(boxes=given, multimask=True, zoom=False)
        repeated = [points] * len(given), [labels] * len(given)
        answers += image.predict_batch(boxes=given, points=repeated[0], labels=repeated[1], multimask=True, zoom=False)
    return answers


def propose(evidence: Evidence) -> tuple[list[BoxXyxy], tuple[int, int]]:
    """The prompts to try: boxes of the carried mask and of the evidence, and a point in the evidence's largest part."""
    both = evidence.both
    count, parts, stats, _ = cv2.connectedComponentsWithStats((both > 0.5).astype(np.uint8))
    given = [] if evidence.box is None or not has_area(evidence.box) else [evidence.box]
    if count == 1:
        region = both >= both.max() * 0.9
        return given, masks.deepest_pixel(region)[0]
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = 1 + int(areas.argmax())
    kept = 1 + np.flatnonzero(areas > SMALL_PART * areas.max())
    box = boxes.from_mask(np.isin(parts, kept))
    return [*given, box], masks.deepest_pixel(parts == largest)[0]


def mark(mask: NDArray[np.bool_], score: float, evidence: Evidence, settings: TrackSettings) -> float:
    """Rate a mask: weighted agreement with the evidence, plus weighted score, less a penalty for a change of size."""
    total = settings.appearance_weight * soft_iou(mask, evidence.likeness) + settings.score_weight * score
    change = abs(math.log2(max(1, int(mask.sum())) / max(1.0, evidence.area)))
    total -= settings.size_weight * min(change, LARGEST_CHANGE)
    if evidence.carried is not None:
        total += settings.flow_weight * soft_iou(mask, evidence.carried)
    return total


def soft_iou(mask: NDArray[np.bool_], soft: NDArray[np.float32]) -> float:
    """IoU of a mask with a map of values 0-1: the sum of minima by the sum of maxima."""
    inside = float(soft[mask].sum())
    union = float(mask.sum()) + float(soft.sum()) - inside
    return inside / union if union > 0 else 0.0


def has_area(box: BoxXyxy) -> bool:
    """Whether a box is at least a pixel wide and high."""
    return box[2] - box[0] >= 1 and box[3] - box[1] >= 1
