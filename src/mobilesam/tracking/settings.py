"""Settings of tracking, and the prompt of one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from numpy.typing import ArrayLike

from mobilesam.settings import Fraction, PositiveOrZero, Probability, Range, Settings


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """What marks one object in the first frame: points, a box, or both, as in `ImageEmbedding.predict`."""

    points: ArrayLike | None = None
    """(P, 2) (x, y) in pixels of the frame."""
    labels: ArrayLike | None = None
    """(P,) 1 for object, 0 for background; all 1 by default."""
    box: ArrayLike | None = None
    """(x0, y0, x1, y1) in pixels of the frame."""


@dataclass(frozen=True, kw_only=True)
class TrackSettings(Settings):
    """Settings of tracking; docs/results/track.md says how the defaults were chosen."""

    region_factor: Annotated[float, Range(low=1.1, high=8)] = 2.0
    """Side of the square region that is encoded around an object, divided by the longer side of the object's box."""
    smallest_change: Annotated[float, Range(low=0, high=1)] = 0.9
    """From one frame to the next the width and the height of the box that is asked fall at most to this share: an
    object half behind a pole keeps its size."""
    flow_share: Probability = 0.3
    """Share of the carried mask in the evidence of where the object is; the rest is its appearance."""
    flow_weight: PositiveOrZero = 0.3
    """Weight of the agreement with the mask that optical flow carries over from the last frame."""
    appearance_weight: PositiveOrZero = 1.0
    """Weight of the agreement with the object's appearance."""
    size_weight: PositiveOrZero = 0.1
    """Weight against masks that are larger or smaller than the object was in recent frames, for each factor of 2."""
    score_weight: PositiveOrZero = 0.3
    """Weight of the IoU that the model predicts for its own mask."""
    forgetting: Annotated[float, Range(above=0, high=1)] = 0.1
    """Share of the newest frame in the memory of recent frames, 0-1; the first frame is never forgotten."""
    recent_share: Probability = 0.5
    """Weight of the recent frames against the first one in the appearance, 0-1."""
    learn_above: Probability = 0.55
    """Frames whose mask agrees less than this with the appearance are not learned."""
    lost_below: Probability = 0.4
    """An object is lost where its best mask agrees less than this with its appearance."""
    found_above: Probability = 0.5
    """A lost object is found where a mask agrees more than this with its appearance."""
    flow_side: Annotated[int, Range(low=64, high=4096)] = 512
    """Longer side in pixels of the frames between which optical flow is computed."""
    regularisation: Fraction = 0.3
    """Strength of the ridge penalty of the appearance classifier, relative to the mean square of its inputs."""
