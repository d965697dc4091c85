"""The protocols: small functions of (one encoded photo, one annotated object) → an answer.

Each docstring is the whole rule. All of them see pixels of the photo, and none sees another object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes
from mobilesam.errors import SettingsError
from mobilesam.evaluate.metrics import Mask, iou
from mobilesam.evaluate.records import TWO_POINT_DISTANCES, Candidates, ClicksNeeded
from mobilesam.masks import deepest_pixel
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Zoom

MAX_CLICKS = 20
TWO_POINT_TOLERANCE = 5.0
BOX_JITTER = 0.1


@dataclass(frozen=True)
class Question:
    """One object of one photo, put to a model."""

    image: ImageEmbedding
    truth: Mask
    """(H, W)"""
    ignored: Mask | None
    """(H, W) pixels that count neither way."""
    rng: np.random.Generator
    """Seeded by the object's name: the same draws in every run and for every model."""
    teacher: ImageEmbedding | None = None
    zoom: Zoom = "auto"
    """Second looks of the model under test."""

    def iou(self, mask: Mask) -> float:
        """IoU with the truth."""
        return iou(mask, self.truth, self.ignored)


@dataclass(frozen=True)
class Answer:
    """A mask, how it was asked for, and whatever else the protocol measures."""

    mask: Mask
    score: float | None = None
    points: list[tuple[int, int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    against: Mask | None = None
    """What to compare with, where it is not the truth."""
    candidates: Candidates | None = None
    """Of `click`: the three masks it chose from."""
    clicks_needed: ClicksNeeded | None = None
    """Of `noc`."""
    iou_by_distance: dict[int, float] = field(default_factory=dict)
    """Of `two-point`: IoU at each distance in pixels; the answer's own IoU is their mean."""


Protocol = Callable[[Question], Answer | None]
"""None where the object cannot be asked about by this rule; it is counted as left out."""


def box(question: Question) -> Answer:
    """`box`: the tight box of the object; the single mask.

    As in NanoSAM's and EdgeSAM's tables, "GT box".
    """
    return ask_box(question, boxes.from_mask(question.truth))


def box_jitter(question: Question) -> Answer:
    """`box-jitter`: each side of the tight box moved by Gaussian noise of 10 % of the box, seeded; the single mask."""
    x0, y0, x1, y1 = boxes.from_mask(question.truth)
    width, height = x1 - x0, y1 - y0
    noise = question.rng.normal(0, BOX_JITTER, 4) * [width, height, width, height]
    moved = np.array([x0, y0, x1, y1], float) + noise
    h, w = question.truth.shape
    left, right = sorted(np.clip(moved[[0, 2]], 0, w))
    top, bottom = sorted(np.clip(moved[[1, 3]], 0, h))
    if right - left < 1 or bottom - top < 1:  # noise closed the box
        return box(question)
    return ask_box(question, (float(left), float(top), float(right), float(bottom)))


def ask_box(question: Question, box_xyxy: tuple[float, float, float, float]) -> Answer:
    """One box, one mask."""
    found = question.image.predict(box=box_xyxy, multimask=False, zoom=question.zoom)
    return Answer(found.masks[0], float(found.scores[0]), box=box_xyxy)


def click(question: Question) -> Answer:
    """`click`: one point, the deepest inside the object; of three masks the one the model scores highest.

    Also measures the three masks' scores and IoUs, from which the report's calibration is made.
    """
    point, found, ious = ask_click(question)
    i = found.best_index
    candidates = Candidates(tuple(float(s) for s in found.scores), tuple(ious))
    return Answer(found.masks[i], float(found.scores[i]), [point], [1], candidates=candidates)


def click_oracle(question: Question) -> Answer:
    """`click-oracle`: the same point; of three masks the one with the best IoU. An upper bound, not a result."""
    point, found, ious = ask_click(question)
    i = int(np.argmax(ious))
    return Answer(found.masks[i], float(found.scores[i]), [point], [1])


def ask_click(question: Question) -> tuple[tuple[int, int], Prediction, list[float]]:
    """The deepest point, the three masks, their IoUs."""
    point, _ = deepest_pixel(question.truth)
    found = question.image.predict(points=[point], multimask=True, zoom=question.zoom)
    return point, found, [question.iou(mask) for mask in found.masks]


def clicks(question: Question, count: int, stop_at: float = 2.0) -> tuple[Answer, list[float]]:
    """The standard corrective clicker (RITM, arXiv 2102.06583): `count` clicks or until an IoU is reached.

    The first click is the deepest pixel of the object, answered by the best-scored of three masks. Every next click is
    the deepest pixel of the false negatives or of the false positives, whichever is deeper, never on a pixel
    clicked before; the previous mask is fed back, and the single mask is taken. Ignored pixels are no errors.

    Returns:
        The last answer, and the IoU after each click.
    """
    points: list[tuple[int, int]] = []
    labels: list[int] = []
    ious: list[float] = []
    found: Prediction | None = None
    mask = np.zeros_like(question.truth)
    free = np.ones_like(question.truth)
    while len(points) < count and (not ious or ious[-1] < stop_at):
        step = next_click(mask, question.truth, free, question.ignored)
        if step is None:  # nothing is wrong any more
            break
        points.append(step[0])
        labels.append(step[1])
        free[step[0][1], step[0][0]] = False
        found = question.image.predict(
            points=points, labels=labels, prior=found, multimask=found is None, zoom=question.zoom
        )
        mask = found.masks[found.best_index]
        ious.append(question.iou(mask))
    score = None if found is None else float(found.scores[found.best_index])
    return Answer(mask, score, points, labels), ious


def next_click(mask: Mask, truth: Mask, free: Mask, ignored: Mask | None) -> tuple[tuple[int, int], int] | None:
    """The middle of the deepest error: ((x, y), label); None when there is no error left to click."""
    counted = free if ignored is None else free & ~ignored
    missed, deep = deepest_pixel(truth & ~mask & counted)
    wrong, deep_wrong = deepest_pixel(mask & ~truth & counted)
    if max(deep, deep_wrong) <= 0:
        return None
    return (missed, 1) if deep >= deep_wrong else (wrong, 0)


def three_clicks(question: Question) -> Answer:
    """`click-3`: the mask after three clicks of the corrective clicker; fewer when nothing is wrong any more."""
    return clicks(question, 3)[0]


def five_clicks(question: Question) -> Answer:
    """`click-5`: the mask after five clicks of the corrective clicker; fewer when nothing is wrong any more."""
    return clicks(question, 5)[0]


def noc(question: Question) -> Answer:
    """`noc`: number of clicks of the corrective clicker to reach 85 and 90 % IoU, at most 20.

    An object that is not reached counts 20 and is a failure.
    """
    answer, ious = clicks(question, MAX_CLICKS, stop_at=0.90)
    best = max(ious, default=0.0)
    needed = ClicksNeeded(
        noc_85=clicks_needed(ious, 0.85), noc_90=clicks_needed(ious, 0.9), failed_85=best < 0.85, failed_90=best < 0.9
    )
    return replace(answer, clicks_needed=needed)


def clicks_needed(ious: list[float], target: float) -> int:
    """Clicks until the IoU first reaches the target; MAX_CLICKS when it never does."""
    return next((i for i, value in enumerate(ious, 1) if value >= target), MAX_CLICKS)


def teacher(question: Question) -> Answer:
    """`teacher`: agreement with another model on the same point (MobileSAM, arXiv 2306.14289, tables 2 and 4).

    The paper names neither the point nor the mask. Here: the deepest pixel of the annotated object, and of three masks
    the one each model itself scores highest. The teacher's mask is the truth; the annotation only gives the point.
    """
    point, _ = deepest_pixel(question.truth)
    expected = need_teacher(question).predict(points=[point], multimask=True).best
    found = question.image.predict(points=[point], multimask=True, zoom=question.zoom).best
    return Answer(found.array, found.score, [point], [1], against=expected.array)


def two_point(question: Question) -> Answer | None:
    """`two-point`: agreement with another model on an object point and a background point 100 to 500 px apart.

    As in MobileSAM's table 7. The object point is the deepest pixel; for each distance d the background point is
    drawn, seeded, from the pixels outside the object within 5 px of d; a distance without such a pixel is left
    out and counted. Single masks. The row's IoU is the mean over its distances.
    """
    point, _ = deepest_pixel(question.truth)
    expected_by = need_teacher(question)
    ious: dict[int, float] = {}
    mask = against = np.zeros_like(question.truth)
    points = [point]
    for distance in TWO_POINT_DISTANCES:
        other = background_point(question, point, distance)
        if other is None:
            continue
        points = [point, other]
        mask = question.image.predict(points=points, labels=[1, 0], multimask=False, zoom=question.zoom).masks[0]
        against = expected_by.predict(points=points, labels=[1, 0], multimask=False).masks[0]
        ious[distance] = iou(mask, against)
    if not ious:
        return None
    return Answer(mask, None, points, [1, 0], against=against, iou_by_distance=ious)


def background_point(question: Question, point: tuple[int, int], distance: float) -> tuple[int, int] | None:
    """A pixel outside the object, about `distance` from the point."""
    y, x = np.ogrid[: question.truth.shape[0], : question.truth.shape[1]]
    away = np.abs(np.hypot(x - point[0], y - point[1]) - distance) <= TWO_POINT_TOLERANCE
    candidates: NDArray[np.intp] = np.flatnonzero(away & ~question.truth)
    if not len(candidates):
        return None
    row, column = np.unravel_index(int(question.rng.choice(candidates)), question.truth.shape)
    return int(column), int(row)


def need_teacher(question: Question) -> ImageEmbedding:
    """The other model's embedding.

    Raises:
        SettingsError: no other model was given.
    """
    if question.teacher is None:
        raise SettingsError("this protocol compares with another model; name it with --teacher")
    return question.teacher


PROTOCOLS: dict[str, Protocol] = {
    "box": box,
    "box-jitter": box_jitter,
    "click": click,
    "click-oracle": click_oracle,
    "click-3": three_clicks,
    "click-5": five_clicks,
    "noc": noc,
    "teacher": teacher,
    "two-point": two_point,
}
NEED_TEACHER = frozenset({"teacher", "two-point"})
