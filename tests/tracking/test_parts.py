"""The parts of tracking by themselves: flow, regions, appearance, judgement."""

from __future__ import annotations

import numpy as np
import pytest

import mobilesam
from mobilesam.region import Region
from mobilesam.tracking.appearance import Appearance
from mobilesam.tracking.flow import Flow
from mobilesam.tracking.follow import no_smaller
from mobilesam.tracking.judge import Evidence, mark, propose, soft_iou
from mobilesam.tracking.region import square_around
from mobilesam.tracking.settings import TrackSettings
from tests.helpers.clips import Clip, iou


@pytest.mark.parametrize("side", [512, 128])
def test_the_flow_carries_a_mask_to_where_the_object_went(side: int) -> None:
    clip = Clip((lambda i: (60 + 9 * i, 60 + 5 * i),), 2)
    flow = Flow(side)
    flow.advance(clip.draw(0))
    np.testing.assert_array_equal(flow.carry(clip.truth(0)), clip.truth(0))  # no flow yet
    flow.advance(clip.draw(1))
    carried = flow.carry(clip.truth(0)) > 0.5
    assert iou(carried, clip.truth(1)) > 0.75
    assert iou(clip.truth(0), clip.truth(1)) < 0.65


def test_frames_too_small_for_flow_leave_the_mask_where_it_was() -> None:
    flow = Flow(512)
    for _ in range(2):
        flow.advance(np.zeros((8, 60, 3), np.uint8))
    mask = np.arange(480).reshape(8, 60) % 2 == 0
    np.testing.assert_array_equal(flow.carry(mask), mask)


def test_a_region_is_a_square_around_the_box_inside_the_frame() -> None:
    assert square_around((40, 40, 60, 80), 2, (200, 300)) == Region(10, 20, 90, 100)
    assert square_around((0, 0, 20, 40), 2, (200, 300)) == Region(0, 0, 80, 80)
    assert square_around((0, 0, 200, 200), 2, (200, 300)) == Region(0, 0, 300, 200)
    assert square_around((100, 100, 104, 104), 2, (200, 300)).hw == (48, 48)


def test_a_box_does_not_collapse_when_half_of_the_object_is_hidden() -> None:
    assert no_smaller((10, 10, 20, 50), (0, 10, 40, 50), 0.9) == (-3, 10, 33, 50)
    assert no_smaller((10, 10, 20, 50), (0, 10, 40, 50), 0) == (10, 10, 20, 50)


def test_the_appearance_tells_an_object_from_what_is_around_it_and_from_another() -> None:
    small = mobilesam.load(backend="onnx", image_size=256, threads=1)
    clip = Clip((lambda i: (60 + 30 * i, 60), lambda i: (170, 80 + 10 * i)), 2)
    first, second = (small.embed(clip.draw(i)) for i in (0, 1))
    look = Appearance(TrackSettings())
    look.learn(first, clip.truth(0))
    likeness = look.likeness(second)
    assert likeness.shape == clip.draw(1).shape[:2]
    assert likeness[clip.truth(1)].mean() > 0.6
    assert likeness[clip.truth(0) & ~clip.truth(1)].mean() < 0.4  # where it was
    before = likeness[clip.truth(1, 1)].mean()
    look.learn_other(first, clip.truth(0, 1))
    look.learn(second, clip.truth(1))
    assert look.likeness(second)[clip.truth(1, 1)].mean() < before


def evidence(likeness: np.ndarray, carried: np.ndarray | None = None) -> Evidence:
    box = None if carried is None else (1.0, 1.0, 5.0, 5.0)
    return Evidence(likeness, carried, box, 0.5, np.zeros_like(likeness), 36.0)


def test_masks_that_agree_with_flow_and_appearance_get_higher_marks() -> None:
    here = np.zeros((20, 20), np.float32)
    here[2:8, 2:8] = 1
    there = here[::-1].copy()
    settings = TrackSettings()
    both = evidence(here, here)
    assert mark(here > 0, 0.5, both, settings) > mark(there > 0, 0.5, both, settings)
    assert mark(here > 0, 0.9, both, settings) > mark(here > 0, 0.5, both, settings)
    lost = evidence(here)
    assert mark(here > 0, 0.5, lost, settings) == pytest.approx(
        settings.appearance_weight + settings.score_weight * 0.5
    )
    assert soft_iou(here > 0, here) == 1
    assert soft_iou(here > 0, here / 2) == 0.5
    assert soft_iou(here > 2, here * 0) == 0


def test_the_box_of_the_evidence_spans_both_halves_of_an_object_but_no_speck() -> None:
    likeness = np.zeros((40, 60), np.float32)
    likeness[10:20, 10:20] = likeness[10:22, 24:34] = 0.9
    likeness[38:40, 58:60] = 0.9
    given, point = propose(evidence(likeness))
    assert given == [(10, 10, 34, 22)]
    assert likeness[point[1], point[0]] > 0
    given, _ = propose(evidence(likeness * 0.1, likeness * 0))
    assert given == [(1, 1, 5, 5)]
