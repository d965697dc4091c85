"""Validation of points, boxes and priors, and their conversion to inputs of the mask decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilesam.contract import LABEL_BACKGROUND, LABEL_BOX_BOTTOM_RIGHT, LABEL_BOX_TOP_LEFT, LABEL_OBJECT, LABEL_PADDING
from mobilesam.errors import PromptError

# P points of one prompt


@dataclass(frozen=True)
class Prompt:
    """One valid prompt, in pixels of the photo."""

    coords: NDArray[np.float32]
    """(P, 2) (x, y): the points, then two box corners, or one row of padding where there is no box."""
    labels: NDArray[np.float32]
    """(P,) label codes of `mobilesam.contract`."""
    is_ambiguous: bool
    """Whether it is a single point without a box or prior, for which three masks are given by default."""

    @classmethod
    def of(
        cls, points_xy: ArrayLike, labels: ArrayLike, box_xyxy: ArrayLike | None, *, has_prior: bool = False
    ) -> Prompt:
        """Join the parts of a prompt, which are not checked: `make_prompt` does that.

        Args:
            points_xy: (P, 2) (x, y) in pixels of the photo; P may be 0.
            labels: (P,) label codes of `mobilesam.contract`.
            box_xyxy: (4,), or None for no box.
            has_prior: whether the prompt refines an earlier answer.
        """
        points = np.asarray(points_xy, np.float32)
        if box_xyxy is None:  # as in the reference, every prompt without a box ends with a padding token
            corners, codes = np.zeros((1, 2), np.float32), [LABEL_PADDING]
        else:
            corners = np.asarray(box_xyxy, np.float32).reshape(2, 2)
            codes = [LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT]
        is_ambiguous = len(points) == 1 and box_xyxy is None and not has_prior
        return cls(np.vstack([points, corners]), np.append(labels, codes).astype(np.float32), is_ambiguous)

    @cached_property
    def points_xy(self) -> NDArray[np.float32]:
        """(P, 2) the points without box corners and padding."""
        return self.coords[np.isin(self.labels, (LABEL_OBJECT, LABEL_BACKGROUND))]

    @cached_property
    def box_xyxy(self) -> tuple[float, float, float, float] | None:
        """The box, or None."""
        corners = self.coords[np.isin(self.labels, (LABEL_BOX_TOP_LEFT, LABEL_BOX_BOTTOM_RIGHT))]
        if not len(corners):
            return None
        (x0, y0), (x1, y1) = corners.tolist()
        return x0, y0, x1, y1

    @property
    def asks_something(self) -> bool:
        """Whether the prompt has a point or a box, and not only a prior."""
        return bool((self.labels != LABEL_PADDING).any())

    def moved(self, origin_xy: tuple[int, int]) -> NDArray[np.float32]:
        """(P, 2) coordinates relative to another origin; padding, which is not a position, is unchanged."""
        is_padding = (self.labels == LABEL_PADDING)[:, None]
        return np.where(is_padding, self.coords, self.coords - np.array(origin_xy, np.float32))


def make_prompt(
    original_hw: tuple[int, int],
    *,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    has_prior: bool = False,
) -> Prompt:
    """Check one prompt for a photo and convert it to a `Prompt`.

    Args:
        original_hw: (height, width) of the photo.
        points: (P, 2) (x, y), or one (x, y).
        labels: (P,) 1 for object, 0 for background; all 1 by default.
        box: (x0, y0, x1, y1).
        has_prior: whether a prior is given, which alone is a valid prompt too.

    Raises:
        PromptError: names the wrong argument, what was found, and what is expected.
    """
    points_xy = check_points(points, original_hw)
    codes = check_labels(labels, len(points_xy))
    if box is None and not len(points_xy) and not has_prior:
        raise PromptError("nothing to segment: give points=[(x, y)], box=(x0, y0, x1, y1) or prior=")
    corners = None if box is None else check_box(box, original_hw)
    return Prompt.of(points_xy, codes, corners, has_prior=has_prior)


def check_points(points: ArrayLike | None, original_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Check that points lie in the photo; returns them as (P, 2)."""
    if points is None:
        return np.zeros((0, 2), np.float32)
    array = _as_floats(points, "points")
    if array.ndim == 1 and array.shape == (2,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 2:
        raise PromptError(f"points must be (P, 2): a list of (x, y) pairs; found shape {array.shape}")
    h, w = original_hw
    outside = (array < 0).any(axis=1) | (array[:, 0] > w) | (array[:, 1] > h)
    if outside.any():
        x, y = array[outside][0]
        advice = "; are x and y swapped?" if 0 <= y <= w and 0 <= x <= h else ""
        raise PromptError(f"point ({x:g}, {y:g}) lies outside the photo, {w} px wide and {h} px high{advice}")
    return array


def check_labels(labels: ArrayLike | None, num_points: int) -> NDArray[np.float32]:
    """Check that labels are 0 or 1, one per point; returns them as (P,)."""
    if labels is None:
        return np.full(num_points, LABEL_OBJECT, np.float32)
    array = np.atleast_1d(_as_floats(labels, "labels"))
    if array.shape != (num_points,):
        raise PromptError(f"{num_points} points need {num_points} labels; found shape {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise PromptError(f"labels must be 1 (object) or 0 (background); found {array.tolist()}")
    return array


def check_box(box: ArrayLike, original_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Check a box and clip it to the photo: (4,) xyxy; corners may be in any order and outside the photo."""
    array = _as_floats(box, "box")
    if array.shape != (4,):
        raise PromptError(f"box must be (x0, y0, x1, y1); found shape {array.shape}; for many boxes use predict_batch")
    h, w = original_hw
    x0, x1 = np.clip(sorted((array[0], array[2])), 0, w)
    y0, y1 = np.clip(sorted((array[1], array[3])), 0, h)
    if x1 - x0 <= 0 or y1 - y0 <= 0:
        raise PromptError(
            f"box {tuple(array.tolist())} covers nothing of the photo, {w} px wide and {h} px high; "
            "expected (x0, y0, x1, y1) with x1 > x0 and y1 > y0"
        )
    return np.array([x0, y0, x1, y1], np.float32)


def check_prior(logits: ArrayLike, side: int) -> NDArray[np.float32]:
    """Check the logits of an earlier prediction; returns them as (1, 1, L, L) with L = `side`."""
    array = _as_floats(logits, "prior", shown=False)
    if array.shape[-2:] != (side, side) or array.size != side * side:
        raise PromptError(
            f"prior must be a Prediction or logits ({side}, {side}), such as found.low_res[0]; "
            f"found shape {array.shape}"
        )
    return np.ascontiguousarray(array).reshape(1, 1, side, side)


def check_rows(rows: ArrayLike, width: int, name: str, form: str) -> NDArray[np.float64]:
    """Check a list of points or boxes, or a single one; returns (N, width), where N may be 0."""
    _as_floats(rows, name, shown=False)
    array = np.asarray(rows, np.float64)
    if array.size == 0:
        return np.zeros((0, width))
    if array.shape == (width,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != width:
        raise PromptError(f"{name} must be (N, {width}): a list of {form}; found shape {array.shape}")
    return array


def per_prompt(
    values: Sequence[ArrayLike] | NDArray[np.generic] | None, count: int, name: str
) -> list[ArrayLike | None]:
    """An argument of `predict_batch` as one entry per prompt, None if it is not given."""
    if values is None:
        return [None] * count
    if count_of(values, name) != count:
        raise PromptError(f"predict_batch was given {count} prompts but {len(values)} {name}")
    return list(values)


def count_of(values: Sequence[ArrayLike] | NDArray[np.generic], name: str) -> int:
    """Number of prompts in an argument of `predict_batch`."""
    try:
        return len(values)
    except TypeError:
        raise PromptError(f"{name} must be a list with one entry per prompt; found {values!r}") from None


def alike(prompts: Sequence[Prompt], size: int) -> Iterator[list[int]]:
    """Group prompts into batches of equal length, at most `size` each; yields their indices.

    Shorter prompts are not padded, because an extra padding token would change the result.
    """

    def length(i: int) -> int:
        return len(prompts[i].labels)

    for _, group in groupby(sorted(range(len(prompts)), key=length), key=length):
        indices = list(group)
        yield from (indices[start : start + size] for start in range(0, len(indices), size))


def _as_floats(values: ArrayLike, name: str, *, shown: bool = True) -> NDArray[np.float32]:
    """Convert to float32 and check that all values are finite; `shown`: whether errors show the values."""
    found = f"; found {values!r}" if shown else ""
    try:
        array = np.asarray(values)
        if array.dtype.kind in "cmMSU":
            raise TypeError("not numbers")
        with np.errstate(over="ignore"):  # values too large for float32 become inf, which is reported below
            array = array.astype(np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(f"{name} must be numbers{found}") from error
    if not np.isfinite(array).all():
        raise PromptError(f"{name} must be finite numbers{found}")
    return array
