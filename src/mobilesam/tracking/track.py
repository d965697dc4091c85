"""`track`: objects of one frame followed through a video, frame after frame."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike

from mobilesam.errors import PromptError
from mobilesam.masks import iou
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.prompts import make_prompt
from mobilesam.tracking.flow import Flow
from mobilesam.tracking.follow import Follower, Rival
from mobilesam.tracking.frames import Frame, Frames, VideoLike, open_frames
from mobilesam.tracking.results import TrackedFrame, TrackedObject
from mobilesam.tracking.settings import ObjectPrompt, TrackSettings

MOST_OBJECTS = 255
"""As many as a picture with a palette can tell apart."""
Pair = tuple[int, int]
"""Indices of two objects."""
SAME = 0.7  # two objects whose masks have a higher IoU are on the same thing


def track(
    predictor: Predictor,
    video: VideoLike | Frames,
    *,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    objects: Sequence[ObjectPrompt] | None = None,
    frame: int = 0,
    settings: TrackSettings | None = None,
) -> Generator[TrackedFrame, None, None]:
    """Follow one or several objects through a video; yields each frame with their masks as soon as it is done.

    Only one frame is in memory at a time, so a video may be of any length.

    Args:
        predictor: the model.
        video: a video file, a folder of pictures, an iterable of photos, or what `open_frames` gives.
        points: (P, 2) (x, y) on the object, in pixels of the first frame.
        labels: (P,) 1 for object, 0 for background; all 1 by default.
        box: (x0, y0, x1, y1) around the object, in pixels of the first frame.
        objects: prompts of several objects, in place of `points`, `labels` and `box`.
        frame: the number of the frame, from 0, in which the objects are marked. Earlier frames are skipped.
        settings: settings of tracking; None for the defaults.

    Returns:
        A generator of frames; an object that is lost in a frame has an empty mask there, and may be found again.

    Raises:
        PromptError: there is no prompt, both kinds are given, one is invalid for the frame or gives an empty mask, or
            there is no such frame.
        ImageError: the video cannot be opened; while iterating, where a frame cannot be read.
    """
    prompts = check_prompts(points, labels, box, objects)
    if not isinstance(frame, (int, np.integer)) or isinstance(frame, bool) or frame < 0:
        raise PromptError(f"frame must be a whole number from 0 on, not {frame!r:.40}")
    opened = video if isinstance(video, Frames) else open_frames(video)
    return _tracked(predictor, opened, prompts, int(frame), settings or TrackSettings())


def check_prompts(
    points: ArrayLike | None, labels: ArrayLike | None, box: ArrayLike | None, objects: Sequence[ObjectPrompt] | None
) -> list[ObjectPrompt]:
    """Convert the arguments of `track` to one prompt per object."""
    if objects is None:
        return [ObjectPrompt(points, labels, box)]
    if points is not None or labels is not None or box is not None:
        raise PromptError("give points=, labels= and box= for one object, or objects= for several, not both")
    if not objects or len(objects) > MOST_OBJECTS:
        raise PromptError(f"objects takes 1 to {MOST_OBJECTS} prompts, found {len(objects)}")
    if not all(isinstance(one, ObjectPrompt) for one in objects):
        raise PromptError("objects takes a list of ObjectPrompt(points=..., labels=..., box=...)")
    return list(objects)


def _tracked(
    predictor: Predictor, frames: Frames, prompts: list[ObjectPrompt], start: int, settings: TrackSettings
) -> Generator[TrackedFrame, None, None]:
    followers = [Follower(predictor, i, settings) for i in range(1, len(prompts) + 1)]
    apart: set[Pair] = set()
    flow = Flow(settings.flow_side)
    with closing(frames.read(start)) as read:
        for frame in read:
            flow.advance(frame.photo)
            if frame.index == start:
                found, apart = _start(frame, followers, prompts)
            else:
                found = part(_step(frame, followers, flow, apart), followers, apart)
            yield TrackedFrame(frame.index, frame.name, frame.photo, tuple(found))


def _start(
    frame: Frame, followers: list[Follower], prompts: list[ObjectPrompt]
) -> tuple[list[TrackedObject], set[Pair]]:
    """Segment all objects in their first frame; also gives the pairs that are apart there, who learn of each other."""
    hw = frame.photo.shape[:2]
    for prompt in prompts:  # all before the first is segmented, so that a mistake is told at once
        make_prompt((hw[0], hw[1]), points=prompt.points, labels=prompt.labels, box=prompt.box)
    starts = [one.start(frame.photo, prompt) for one, prompt in zip(followers, prompts, strict=True)]
    apart = {(i, j) for i, j in permutations(range(len(starts)), 2) if not starts[i].overlaps(starts[j])}
    for i, j in sorted(apart):
        followers[i].appearance.learn_other(starts[j].close, starts[j].close_mask)
    return [start.found for start in starts], apart


def _step(frame: Frame, followers: list[Follower], flow: Flow, apart: set[Pair]) -> list[TrackedObject]:
    carried = [None if one.mask is None else flow.carry(one.mask) for one in followers]
    rivals = {i: Rival(followers[i].appearance, mask) for i, mask in enumerate(carried) if mask is not None}
    return [
        one.step(frame.photo, carried[i], [rival for j, rival in rivals.items() if (i, j) in apart])
        for i, one in enumerate(followers)
    ]


def part(found: list[TrackedObject], followers: Sequence[Follower], apart: set[Pair]) -> list[TrackedObject]:
    """Mark one of two objects as lost if their masks, apart in the first frame, now overlap: the less similar one.

    Similar means to its appearance so far. Otherwise both would follow the same thing from then on.
    """
    answers = list(found)
    for i, j in sorted((i, j) for i, j in apart if i < j):
        if answers[i].is_lost or answers[j].is_lost or _iou(answers[i], answers[j]) <= SAME:
            continue
        worse = i if answers[i].agreement < answers[j].agreement else j
        answers[worse] = followers[worse].lose(answers[worse].agreement)
    return answers


def _iou(one: TrackedObject, other: TrackedObject) -> float:
    a, b = one.mask.box_xyxy, other.mask.box_xyxy
    if min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1]):
        return 0.0
    return iou(one.mask.array, other.mask.array)
