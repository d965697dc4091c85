"""Following objects through clips whose truth is known, with the embedded model at its smallest size."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import mobilesam
from mobilesam import ObjectPrompt, PromptError, TrackedFrame
from mobilesam.errors import ImageError, SettingsError
from mobilesam.predict.results import Mask
from mobilesam.tracking.follow import Follower
from mobilesam.tracking.results import TrackedObject
from mobilesam.tracking.track import part
from tests.helpers.clips import Clip, iou


@pytest.fixture(scope="module")
def small() -> mobilesam.Predictor:
    return mobilesam.load(backend="onnx", image_size=256, threads=1)


def right(x: float, y: float, dx: float, dy: float = 0.0):
    """The path of an object that moves evenly."""
    return lambda i: (x + dx * i, y + dy * i)


def hidden(path, first: int, last: int):
    """The same path, but the object cannot be seen in some frames."""
    return lambda i: None if first <= i <= last else path(i)


def ious(clip: Clip, frames: list[TrackedFrame], which: int = 0) -> list[float]:
    return [iou(one.objects[which].mask.array, clip.truth(one.index, which)) for one in frames]


def test_a_moving_object_is_followed_from_a_box(small: mobilesam.Predictor) -> None:
    clip = Clip((right(40, 50, 12, 4),), 8)
    found = list(mobilesam.track(small, clip.frames(), box=clip.box(0)))
    assert [one.index for one in found] == list(range(8))
    assert [one.name for one in found][:2] == ["00000", "00001"]
    assert not any(one.lost for one in found)
    assert min(ious(clip, found)) > 0.9


def test_a_click_on_a_later_frame_starts_there(small: mobilesam.Predictor) -> None:
    clip = Clip((right(40, 60, 10),), 6)
    found = list(mobilesam.track(small, clip.frames(), points=[(76, 60)], frame=3))
    assert [one.index for one in found] == [3, 4, 5]
    assert min(ious(clip, found)) > 0.85


def test_an_object_that_cannot_be_seen_is_lost_and_found_again(small: mobilesam.Predictor) -> None:
    clip = Clip((hidden(right(40, 70, 9), 3, 6),), 11)
    found = list(mobilesam.track(small, clip.frames(), box=clip.box(0)))
    assert [one.index for one in found if one.lost] == [3, 4, 5, 6]
    for one in found[3:7]:
        assert one.lost == [1]
        assert one.objects[0].mask.area == 0
        assert not one.labels().any()
    assert min(ious(clip, found[:3] + found[7:])) > 0.85


def test_an_object_that_leaves_the_frame_is_lost(small: mobilesam.Predictor) -> None:
    clip = Clip((right(150, 70, 14),), 10)
    found = list(mobilesam.track(small, clip.frames(), box=clip.box(0)))
    assert found[-1].lost == [1]
    assert min(ious(clip, found[:3])) > 0.85


def test_two_objects_that_cross_keep_their_numbers(small: mobilesam.Predictor) -> None:
    clip = Clip((right(40, 70, 12), right(170, 74, -12)), 11)
    prompts = [ObjectPrompt(box=clip.box(0, 0)), ObjectPrompt(points=[(170, 74)])]
    found = list(mobilesam.track(small, clip.frames(), objects=prompts))
    assert [one.id for one in found[-1].objects] == [1, 2]
    for which in (0, 1):
        assert min(ious(clip, found[:4] + found[-3:], which)) > 0.85
    labels = found[-1].labels()
    assert iou(labels == 1, clip.truth(10, 0)) > 0.85


def test_an_object_and_a_part_of_it_are_both_followed(small: mobilesam.Predictor) -> None:
    clip = Clip((right(40, 60, 8),), 4)
    inner = ObjectPrompt(box=(29, 49, 51, 71))
    found = list(mobilesam.track(small, clip.frames(), objects=[ObjectPrompt(box=clip.box(0)), inner]))
    assert not any(one.lost for one in found)
    whole, centre = (one.mask.array for one in found[-1].objects)
    assert iou(whole, clip.truth(3)) > 0.85
    assert iou(centre, clip.disc((64, 60), 10)) > 0.7
    assert found[-1].labels()[60, 64] == 2, "the smaller one lies on top"


def test_of_two_objects_on_one_thing_the_less_alike_is_lost(small: mobilesam.Predictor) -> None:
    mask = Clip((right(40, 60, 8),), 1).truth(0)
    found = [TrackedObject(i, Mask(mask, 0.9), agreement) for i, agreement in ((1, 0.5), (2, 0.7))]
    followers = [Follower(small, i, mobilesam.TrackSettings()) for i in (1, 2)]
    for follower in followers:
        follower.frame_hw = (mask.shape[0], mask.shape[1])
    parted = part(found, followers, {(0, 1), (1, 0)})
    assert [one.is_lost for one in parted] == [True, False]
    assert parted[0].mask.area == 0
    assert part(found, followers, set()) == found


def test_memory_does_not_grow_with_the_clip(small: mobilesam.Predictor) -> None:
    held: list[int] = []
    taken: list[int] = []

    def watched(count: int) -> Iterator[NDArray[np.uint8]]:
        clip = Clip((lambda i: (60 + 4 * (i % 8), 70),), count)
        for i, frame in enumerate(clip.frames()):
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
            assert i <= len(taken) + 1, "frames are read ahead of what is asked for"
            yield frame

    tracemalloc.start()
    try:
        for one in mobilesam.track(small, watched(9), box=(40, 50, 80, 90)):
            taken.append(one.index)
    finally:
        tracemalloc.stop()
    assert held[-1] - held[4] < 50_000, "a frame has 90,000 bytes"


def test_the_video_is_closed_when_nobody_wants_more(small: mobilesam.Predictor) -> None:
    closed = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        try:
            yield from Clip((right(40, 60, 8),), 4).frames()
        finally:
            closed.append(True)

    tracked = mobilesam.track(small, frames(), box=(20, 40, 60, 80))
    next(tracked)
    tracked.close()
    gc.collect()
    assert closed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to segment"),
        ({"points": [(500, 500)]}, "outside the photo"),
        ({"objects": []}, "1 to 255 prompts"),
        ({"objects": [(3, 4)]}, "ObjectPrompt"),
        ({"objects": [ObjectPrompt(box=(1, 1, 9, 9))], "box": (1, 1, 9, 9)}, "not both"),
        ({"box": (20, 40, 60, 80), "frame": -1}, "from 0 on"),
        ({"box": (20, 40, 60, 80), "frame": 9}, "there is no frame 9"),
    ],
)
def test_wrong_prompts_are_refused(small: mobilesam.Predictor, arguments: dict, message: str) -> None:
    clip = Clip((right(40, 60, 8),), 2)
    with pytest.raises(PromptError, match=message):
        list(mobilesam.track(small, clip.frames(), **arguments))


def test_what_is_no_video_is_refused_at_once(small: mobilesam.Predictor) -> None:
    with pytest.raises(ImageError, match="a video is a path"):
        mobilesam.track(small, b"bytes", box=(1, 1, 9, 9))


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="region_factor"):
        mobilesam.TrackSettings(region_factor=0.5)
