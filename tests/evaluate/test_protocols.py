from __future__ import annotations

import numpy as np
import pytest

from mobilesam.errors import PromptError, SettingsError
from mobilesam.evaluate.protocols import (
    PROTOCOLS,
    Question,
    clicks,
    clicks_needed,
    next_click,
)
from mobilesam.evaluate.records import ClicksNeeded
from tests.helpers.oracle import SIZE, ask, square

EMPTY = np.zeros((SIZE, SIZE), bool)


def question(image, truth=None, ignored=None, teacher=None) -> Question:
    return Question(image, square() if truth is None else truth, ignored, np.random.default_rng(0), teacher)


@pytest.mark.parametrize("name", ["box", "box-jitter", "click", "click-oracle", "click-3", "click-5"])
def test_a_perfect_model_scores_one_and_an_empty_one_zero(name: str) -> None:
    perfect = question(ask(square()))
    assert perfect.iou(PROTOCOLS[name](perfect).mask) == 1
    empty = question(ask(EMPTY))
    assert empty.iou(PROTOCOLS[name](empty).mask) == 0
    shifted = question(ask(square(x=28)))
    assert shifted.iou(PROTOCOLS[name](shifted).mask) == pytest.approx(12 / 36)


def test_box_asks_with_the_tight_box_and_takes_the_single_mask() -> None:
    image = ask(lambda _: [square(), EMPTY, EMPTY, EMPTY])
    answer = PROTOCOLS["box"](question(image))
    asked = image.backend.asked[-1]  # type: ignore[attr-defined]
    assert asked["coords"][0].tolist() == [[16, 16], [40, 40]]
    assert asked["labels"][0].tolist() == [2, 3]
    assert (answer.mask == square()).all()


@pytest.mark.parametrize("name", ["box", "box-jitter", "click", "click-oracle", "click-3"])
def test_every_protocol_passes_the_runs_zoom_on(name: str) -> None:
    asked = Question(ask(square()), square(), None, np.random.default_rng(0), ask(square()), zoom=True)
    with pytest.raises(PromptError, match="needs the photo"):  # the oracle has none
        PROTOCOLS[name](asked)


def test_box_jitter_moves_every_side_and_repeats_itself() -> None:
    first, second = (PROTOCOLS["box-jitter"](question(ask(square()))).box for _ in range(2))
    assert first == second
    assert all(a != b for a, b in zip(first, (16, 16, 40, 40), strict=True))
    assert np.abs(np.subtract(first, (16, 16, 40, 40))).max() < 12


def test_click_takes_the_best_scored_of_three_and_the_oracle_the_best() -> None:
    image = ask(lambda _: [square(), EMPTY, square(), square(x=28)], scores=(1.0, 0.9, 0.5, 0.1))
    chosen = PROTOCOLS["click"](question(image))
    assert not chosen.mask.any()  # mask 1: the highest score of masks 1-3
    assert chosen.candidates is not None
    assert chosen.candidates.scores == pytest.approx([0.9, 0.5, 0.1])
    assert chosen.candidates.ious == pytest.approx([0, 1, 12 / 36])
    assert (PROTOCOLS["click-oracle"](question(image)).mask == square()).all()


def test_the_first_click_is_the_deepest_pixel() -> None:
    image = ask(square())
    answer = PROTOCOLS["click"](question(image))
    ((x, y),) = answer.points
    assert 26 <= x <= 29
    assert 26 <= y <= 29
    edge = EMPTY.copy()
    edge[:, :21] = True  # the photo's border counts as a border
    ((x, _),) = PROTOCOLS["click"](question(image, edge)).points
    assert x == 10


def test_corrections_click_the_deepest_error_and_feed_the_mask_back() -> None:
    image = ask(lambda count: [square(side=24) | square(x=44, y=44, side=16)])
    answer, ious = clicks(question(image, square()), 3)
    assert answer.labels == [1, 0, 0]
    x, y = answer.points[1]
    assert 50 <= x <= 53
    assert 50 <= y <= 53
    assert [float(asked["has_mask_input"][0]) for asked in image.backend.asked] == [0, 1, 1]  # type: ignore[attr-defined]
    assert len(set(answer.points)) == 3, "no pixel is clicked twice"
    assert ious == pytest.approx([576 / 832] * 3)


def test_a_missed_part_deeper_than_a_wrong_one_is_clicked_first() -> None:
    truth = square(side=40, x=0, y=0)
    predicted = square(side=10, x=50, y=50)
    free = np.ones_like(truth)
    assert next_click(predicted, truth, free, None)[1] == 1
    assert next_click(truth | predicted, truth, free, None)[1] == 0
    assert next_click(truth, truth, free, None) is None
    assert next_click(truth | predicted, truth, free, predicted) is None, "ignored pixels are no errors"


@pytest.mark.parametrize("k", [1, 2, 7, 20])
def test_noc_of_a_model_that_needs_k_clicks_is_k(k: int) -> None:
    image = ask(lambda count: [square() if count >= k else square(side=12)])
    assert PROTOCOLS["noc"](question(image)).clicks_needed == ClicksNeeded(k, k, False, False)
    assert len(image.backend.asked) == k  # type: ignore[attr-defined]


def test_noc_counts_failures_as_twenty() -> None:
    almost = square()
    almost[:3, :] = almost[16:19, :] = False  # 21 of 24 rows: 0.875
    image = ask(lambda count: [almost if count >= 2 else EMPTY])
    needed = PROTOCOLS["noc"](question(image)).clicks_needed
    assert needed == ClicksNeeded(noc_85=2, noc_90=20, failed_85=False, failed_90=True)
    assert clicks_needed([], 0.5) == 20


def test_teacher_compares_with_the_other_model_and_not_with_the_truth() -> None:
    same = question(ask(square(x=30)), teacher=ask(square(x=30)))
    answer = PROTOCOLS["teacher"](same)
    assert (answer.mask == answer.against).all()
    with pytest.raises(SettingsError, match="--teacher"):
        PROTOCOLS["teacher"](question(ask(square())))


def test_two_point_puts_its_background_point_at_each_distance() -> None:
    size = 1200
    truth = np.zeros((64, size), bool)
    truth[:, :20] = True
    image = ask(square())
    object.__setattr__(image, "original_hw", (64, size))
    object.__setattr__(image, "input_hw", (3, 64))
    answer = PROTOCOLS["two-point"](Question(image, truth, None, np.random.default_rng(0), image))
    assert answer is not None
    assert answer.iou_by_distance == dict.fromkeys((100, 200, 300, 400, 500), 1.0)
    (x, y), (bx, by) = answer.points
    assert np.hypot(bx - x, by - y) == pytest.approx(500, abs=5)
    assert not truth[by, bx]
    assert PROTOCOLS["two-point"](question(ask(square()), teacher=ask(square()))) is None, "the photo is too small"
