"""The contour accuracy F of DAVIS."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.evaluate.metrics import contour, contour_accuracy


def box(x: int, y: int, width: int = 40, height: int = 30) -> np.ndarray:
    mask = np.zeros((200, 300), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def test_equal_and_empty_masks_are_accurate() -> None:
    empty = box(0, 0, 0, 0)
    assert contour_accuracy(box(50, 60), box(50, 60)) == 1
    assert contour_accuracy(empty, empty) == 1
    assert contour_accuracy(empty, box(50, 60)) == contour_accuracy(box(50, 60), empty) == 0


def test_contours_within_the_tolerance_count_and_others_do_not() -> None:
    # 0.8 % of the diagonal of 361 pixels is 2.9, and 3 with part of a pixel
    assert contour_accuracy(box(53, 60), box(50, 60)) == 1
    assert contour_accuracy(box(54, 60), box(50, 60)) < 1
    assert contour_accuracy(box(150, 120), box(50, 60)) == 0


def test_precision_and_recall_are_joined_by_their_harmonic_mean() -> None:
    both = box(50, 20) | box(200, 150)  # the same contour twice, so half of it is right
    assert contour_accuracy(both, box(50, 20)) == pytest.approx(2 / 3)
    assert contour_accuracy(box(50, 20), both) == pytest.approx(2 / 3)


def test_the_edge_of_the_frame_is_no_contour() -> None:
    assert not contour(np.ones((20, 30), bool)).any()
    half = np.zeros((20, 30), bool)
    half[:, :10] = True
    assert contour(half)[:, 9].all()
    assert contour(half).sum() == 20
