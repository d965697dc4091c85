from __future__ import annotations

import numpy as np

from mobilesam import masks
from mobilesam.everything.candidates import Candidate
from mobilesam.everything.coarse import is_covered, near_small
from mobilesam.everything.grid import Box, point_grid

HW = (60, 120)


def square(point: tuple[float, float], side: int, crop: Box = (0, 0, 120, 60)) -> Candidate:
    array = np.zeros(HW, bool)
    x, y = (int(v) for v in point)
    array[y : y + side, x : x + side] = True
    return Candidate(masks.to_rle(array), 0.9, (x, y, x + side, y + side), side * side, 0.9, point, crop)


def test_points_around_a_coarse_point_with_a_small_mask_are_asked() -> None:
    points = point_grid(8)
    found = [square((75.0, 22.5), 5), square((15.0, 52.5), 50)]  # at the third of the second row, first of the last
    near = near_small(points, found, per_side=4, small_share=0.02).reshape(8, 8)
    expected = np.zeros((8, 8), bool)
    expected[1:5, 3:7] = True  # the points between that coarse point and its neighbours
    np.testing.assert_array_equal(near, expected)


def test_the_smallest_mask_of_a_point_counts_and_none_counts_as_large() -> None:
    both = [square((75.0, 22.5), 5), square((75.0, 22.5), 30)]
    assert near_small(point_grid(8), both, 4, 0.02).sum() == 16
    assert not near_small(point_grid(8), [], 4, 0.02).any()


def test_a_share_is_one_of_the_crop() -> None:
    crop = (60, 0, 120, 60)
    found = [square((75.0, 22.5), 9, crop)]  # 81 of 3600 pixels
    assert near_small(point_grid(8), found, 4, 0.025).sum() == 16
    assert not near_small(point_grid(8), found, 4, 0.02).any()


def test_points_in_a_mask_are_covered() -> None:
    points = np.array([(12.0, 12.0), (30.0, 30.0), (100.0, 5.0)])
    found = [square((10.0, 10.0), 5), square((25.0, 25.0), 10)]
    assert is_covered(points, found, HW).tolist() == [True, True, False]
    assert is_covered(points, [], HW).tolist() == [False] * 3
