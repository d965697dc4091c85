from __future__ import annotations

import numpy as np
import pytest

from mobilesam.evaluate.metrics import (
    average_recall,
    bootstrap,
    boundary,
    boundary_iou,
    calibration,
    components,
    iou,
    size_class,
)
from tests.helpers.oracle import square


def test_iou_of_known_masks() -> None:
    truth, nothing = square(), np.zeros((64, 64), bool)
    assert iou(truth, truth) == 1
    assert iou(nothing, truth) == 0
    assert iou(nothing, nothing) == 1
    assert iou(square(x=28), truth) == pytest.approx(12 / 36)


def test_ignored_pixels_count_neither_way() -> None:
    truth, ignored = square(), np.zeros((64, 64), bool)
    ignored[:, 28:] = True
    assert iou(square(side=48), truth, ignored) == pytest.approx((12 * 24) / (12 * 48))
    assert iou(truth, truth, ~np.zeros((64, 64), bool)) == 1


def test_boundary_is_a_band_inside_the_mask() -> None:
    band = boundary(square(), ratio=2 / np.hypot(64, 64))
    assert band.sum() == 24**2 - 20**2
    assert boundary(np.ones((64, 64), bool), ratio=1 / np.hypot(64, 64)).sum() == 64**2 - 62**2
    assert boundary_iou(square(), square()) == 1
    assert boundary_iou(square(x=18), square()) < iou(square(x=18), square())


def test_pieces_are_counted_and_those_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((8, 8), bool)
    assert components(mask) == 0
    mask[1, 1] = mask[2, 2] = mask[6, 6] = True
    assert components(mask) == 2


@pytest.mark.parametrize(("area", "size"), [(1023, "S"), (1024, "M"), (9215, "M"), (9216, "L")])
def test_size_classes_are_cocos(area: int, size: str) -> None:
    assert size_class(area) == size


def test_bootstrap_draws_photos_and_repeats_itself() -> None:
    values, photos = [0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50
    assert bootstrap(values, photos) == (0.0, 1.0)  # two photos: the mean of a draw is 0, 0.5 or 1
    alone = [str(i) for i in range(100)]
    low, high = bootstrap(values, alone)
    assert 0.35 < low < 0.45 < 0.55 < high < 0.65
    assert (low, high) == bootstrap(values, alone)


def test_average_recall_matches_one_to_one_and_counts_the_limit() -> None:
    ious = np.array([[0.92, 0.0], [0.95, 0.6], [0.0, 0.71]])
    # The pairs are (1, 0) at 0.95 and (2, 1) at 0.71: ten of ten and five of ten thresholds.
    assert average_recall(ious, 10) == pytest.approx((10 + 5) / 20)
    assert average_recall(ious, 1) == pytest.approx(9 / 20)
    assert average_recall(np.zeros((0, 2)), 10) == 0
    assert np.isnan(average_recall(np.zeros((3, 0)), 10))


def test_calibration_bins_by_score() -> None:
    rows = calibration([0.05, 0.95, 0.91, 1.3], [0.2, 0.8, 0.6, 1.0])
    assert [(row["from"], row["count"]) for row in rows] == [(0.0, 1), (0.9, 3)]
    assert rows[1]["mean_iou"] == pytest.approx(0.8)
