"""Evaluation protocols: rules that derive prompts from an annotated object and give the model's mask for them.

Each protocol is a function from a `Question` (one encoded photo, one object) to an `Answer`; its docstring states the
whole rule. Coordinates are pixels of the photo. No protocol knows the other objects of the photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes
from mobilesam.errors import SettingsError
from mobilesam.evaluate.metrics import Pixels, iou
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
    """One annotated object of one encoded photo, for which a model is prompted."""

    image: ImageEmbedding
    truth: Pixels
    """(H, W)"""
    ignored: Pixels | None
    """(H, W) pixels that are excluded from all metrics."""
    rng: np.random.Generator
    """Seeded by protocol and object id: the same draws in every run and for every model."""
    teacher: ImageEmbedding | None = None
    zoom: Zoom = "auto"
    """Zoom option of the model under test, as in `ImageEmbedding.predict`."""

    def iou(self, mask: Pixels) -> float:
        """IoU of a mask with the annotated object."""
        return iou(mask, self.truth, self.ignored)


@dataclass(frozen=True)
class Answer:
    """The model's mask, the prompt that it answers, and further measurements of some protocols."""

    mask: Pixels
    score: float | None = None
    points: list[tuple[int, int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    against: Pixels | None = None
    """The mask to compare with, if it is not the annotation: the teacher's."""
    candidates: Candidates | None = None
    """Only for `click`: scores and IoUs of the three masks."""
    clicks_needed: ClicksNeeded | None = None
    """Only for `noc`."""
    iou_by_distance: dict[int, float] = field(default_factory=dict)
    """Only for `two-point`: IoU at each distance in pixels; the answer's own IoU is their mean."""


Protocol = Callable[[Question], Answer | None]
"""A protocol returns None if its rule gives no prompt for the object, which is then counted as left out."""


def box(question: Question) -> Answer:
    """Protocol `box`: prompt with the tight box of the object, single-mask output.

    It is the "GT box" of NanoSAM's and EdgeSAM's tables.
    """
    return ask_box(question, boxes.from_mask(question.truth))


def box_jitter(question: Question) -> Answer:
    """Protocol `box-jitter`: each side of the tight box moved by Gaussian noise (sigma 10 % of its size), seeded."""
    x0, y0, x1, y1 = boxes.from_mask(question.truth)
    width, height = x1 - x0, y1 - y0
    noise = question.rng.normal(0, BOX_JITTER, 4) * [width, height, width, height]
    moved = np.array([x0, y0, x1, y1], float) + noise
    h, w = question.truth.shape
    # Strong noise may swap opposite sides; sorting makes a valid box again.
    left, right = sorted(np.clip(moved[[0, 2]], 0, w))
    top, bottom = sorted(np.clip(moved[[1, 3]], 0, h))
    if right - left < 1 or bottom - top < 1:  # less than a pixel is left, mostly of tiny objects
        return box(question)
    return ask_box(question, (float(left), float(top), float(right), float(bottom)))


def ask_box(question: Question, box_xyxy: tuple[float, float, float, float]) -> Answer:
    """Prompt with one box, single-mask output."""
    # One mask: SAM's three are for ambiguous prompts, and it counts a box as unambiguous (its predictor_example).
    found = question.image.predict(box=box_xyxy, multimask=False, zoom=question.zoom)
    return Answer(found.masks[0], float(found.scores[0]), box=box_xyxy)


def click(question: Question) -> Answer:
    """Protocol `click`: one point, the innermost pixel of the object; of three masks, the one with the highest score.

    Scores and IoUs of all three masks are recorded too, for the calibration in the report.
    """
    point, found, ious = ask_click(question)
    i = found.best_index
    candidates = Candidates(tuple(float(s) for s in found.scores), tuple(ious))
    return Answer(found.masks[i], float(found.scores[i]), [point], [1], candidates=candidates)


def click_oracle(question: Question) -> Answer:
    """Protocol `click-oracle`: as `click`, but the mask with the highest true IoU; an upper bound, not a result."""
    point, found, ious = ask_click(question)
    i = int(np.argmax(ious))
    return Answer(found.masks[i], float(found.scores[i]), [point], [1])


def ask_click(question: Question) -> tuple[tuple[int, int], Prediction, list[float]]:
    """Prompt with the innermost pixel of the object; returns the point, the three masks and their IoUs."""
    point, _ = deepest_pixel(question.truth)
    found = question.image.predict(points=[point], multimask=True, zoom=question.zoom)
    return point, found, [question.iou(mask) for mask in found.masks]


def clicks(question: Question, count: int, stop_at: float = 2.0) -> tuple[Answer, list[float]]:
    """Simulated corrective clicks (RITM, arXiv 2102.06583): up to `count`, or until the IoU reaches `stop_at`.

    The first click is the innermost pixel of the object, and the highest-scored of three masks is taken. Each further
    click is the innermost pixel of the false negatives or of the false positives, whichever lies deeper inside its
    region, and never a pixel clicked before; the previous mask is fed back, with single-mask output. Ignored pixels do
    not count as errors.

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
        if step is None:  # no wrong pixels are left
            break
        points.append(step[0])
        labels.append(step[1])
        # If the model does not correct the error, the next click must add information, not repeat this one.
        free[step[0][1], step[0][0]] = False
        # As SAM was trained: three masks for a first click, which is ambiguous, and one mask for every later prompt
        # together with the previous logits (arXiv 2304.02643, appendix A).
        found = question.image.predict(
            points=points, labels=labels, prior=found, multimask=found is None, zoom=question.zoom
        )
        mask = found.masks[found.best_index]
        ious.append(question.iou(mask))
    score = None if found is None else float(found.scores[found.best_index])
    return Answer(mask, score, points, labels), ious


def next_click(mask: Pixels, truth: Pixels, free: Pixels, ignored: Pixels | None) -> tuple[tuple[int, int], int] | None:
    """Next corrective click: ((x, y), label) in the largest error, or None if there is no error."""
    counted = free if ignored is None else free & ~ignored
    missed, deep = deepest_pixel(truth & ~mask & counted)
    wrong, deep_wrong = deepest_pixel(mask & ~truth & counted)
    # Depth is the distance to the border of the wrong region: 0 means there is no wrong pixel.
    if max(deep, deep_wrong) <= 0:
        return None
    return (missed, 1) if deep >= deep_wrong else (wrong, 0)


def three_clicks(question: Question) -> Answer:
    """Protocol `click-3`: the mask after three corrective clicks, or fewer if no error is left."""
    return clicks(question, 3)[0]


def five_clicks(question: Question) -> Answer:
    """Protocol `click-5`: the mask after five corrective clicks, or fewer if no error is left."""
    return clicks(question, 5)[0]


def noc(question: Question) -> Answer:
    """Protocol `noc`: number of corrective clicks to reach 85 and 90 % IoU, at most 20.

    An object that does not reach the IoU counts as 20 clicks and as a failure.
    """
    # One simulation for both: clicks do not depend on the target, so the way to 90 % passes 85 %.
    answer, ious = clicks(question, MAX_CLICKS, stop_at=0.90)
    best = max(ious, default=0.0)
    needed = ClicksNeeded(
        noc_85=clicks_needed(ious, 0.85), noc_90=clicks_needed(ious, 0.9), failed_85=best < 0.85, failed_90=best < 0.9
    )
    return replace(answer, clicks_needed=needed)


def clicks_needed(ious: list[float], target: float) -> int:
    """Number of clicks until the IoU first reaches a target; MAX_CLICKS if it never does."""
    return next((i for i, value in enumerate(ious, 1) if value >= target), MAX_CLICKS)


def teacher(question: Question) -> Answer:
    """Protocol `teacher`: IoU with another model's mask for the same point (MobileSAM, arXiv 2306.14289, tables 2, 4).

    The paper specifies neither the point nor the mask. Here the point is the innermost pixel of the annotated object,
    and each model gives the mask it scores highest of three. The teacher's mask is the reference; the annotation only
    gives the point.
    """
    point, _ = deepest_pixel(question.truth)
    expected = need_teacher(question).predict(points=[point], multimask=True).best
    found = question.image.predict(points=[point], multimask=True, zoom=question.zoom).best
    return Answer(found.array, found.score, [point], [1], against=expected.array)


def two_point(question: Question) -> Answer | None:
    """Protocol `two-point`: IoU with another model's mask for an object point and a background point 100-500 px apart.

    As in MobileSAM's table 7. The object point is the innermost pixel of the object. For each distance d the background
    point is drawn (seeded) from the pixels outside the object at a distance of d within 5 px; a distance without such
    a pixel is skipped, and an object without any is counted as left out. Single-mask output. The IoU of the row is the
    mean over its distances.
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
        points = [point, other]  # labels as SAM's: 1 is the object, 0 the background
        mask = question.image.predict(points=points, labels=[1, 0], multimask=False, zoom=question.zoom).masks[0]
        against = expected_by.predict(points=points, labels=[1, 0], multimask=False).masks[0]
        ious[distance] = iou(mask, against)
    if not ious:
        return None
    return Answer(mask, None, points, [1, 0], against=against, iou_by_distance=ious)


def background_point(question: Question, point: tuple[int, int], distance: float) -> tuple[int, int] | None:
    """A random pixel (x, y) outside the object, about `distance` pixels from a point; None if there is none."""
    y, x = np.ogrid[: question.truth.shape[0], : question.truth.shape[1]]
    away = np.abs(np.hypot(x - point[0], y - point[1]) - distance) <= TWO_POINT_TOLERANCE
    candidates: NDArray[np.intp] = np.flatnonzero(away & ~question.truth)
    if not len(candidates):
        return None
    row, column = np.unravel_index(int(question.rng.choice(candidates)), question.truth.shape)
    return int(column), int(row)


def need_teacher(question: Question) -> ImageEmbedding:
    """The photo as encoded by the teacher, the model to compare with.

    Raises:
        SettingsError: no teacher was given.
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
