from __future__ import annotations

import numpy as np
import pytest

from mobilesam.data.photo import PhotoId
from mobilesam.evaluate.metrics import (
    bootstrap,
    bootstrap_ratio,
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


def photos(paths: str, dataset: str = "d") -> list[PhotoId]:
    return [PhotoId(dataset, path) for path in paths]


def test_bootstrap_draws_photos_and_repeats_itself() -> None:
    values = [0.0] * 50 + [1.0] * 50
    assert bootstrap(values, photos("a" * 50 + "b" * 50)) == (0.0, 1.0)  # the mean of a draw is 0, 0.5 or 1
    alone = [PhotoId("d", str(i)) for i in range(100)]
    low, high = bootstrap(values, alone)
    assert 0.35 < low < 0.45 < 0.55 < high < 0.65
    assert (low, high) == bootstrap(values, alone)


def test_bootstrap_tells_photos_of_one_name_in_two_data_sets_apart() -> None:
    values = [0.0] * 50 + [1.0] * 50
    same_name = photos("a" * 50, "one") + photos("a" * 50, "two")
    assert bootstrap(values, same_name) == (0.0, 1.0)


def test_intervals_are_those_of_the_time_when_a_photo_was_its_name() -> None:
    # As computed before photos had data sets: drawn in the order of their names, whichever data set each is from.
    values = [0.13, 0.97, 0.41, 0.62, 0.85, 0.29]
    mixed = [PhotoId("zoo", "a"), PhotoId("ant", "b"), PhotoId("zoo", "c"), PhotoId("ant", "d"), PhotoId("zoo", "e")]
    assert bootstrap(values, [*mixed, mixed[0]]) == (0.3149375, 0.852)


def test_a_ratio_weighs_each_photo_by_its_objects() -> None:
    low, high = bootstrap_ratio([1, 0], [1, 3])
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_ratio([1, 3], [2, 6]) == (0.5, 0.5)


def test_calibration_bins_by_score() -> None:
    rows = calibration([0.05, 0.95, 0.91, 1.3], [0.2, 0.8, 0.6, 1.0])
    assert [(row.start, row.count) for row in rows] == [(0.0, 1), (0.9, 3)]
    assert rows[1].mean_iou == pytest.approx(0.8)
