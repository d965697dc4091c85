from __future__ import annotations

import numpy as np
import pytest

from mobilesam.everything.filters import (
    is_cut_by_crop,
    nms,
    remove_small_regions,
    stability_score,
    suppress,
)
from mobilesam.everything.grid import crop_boxes, point_grid


def test_stability_is_the_ratio_of_nested_areas() -> None:
    logits = np.array([[-3.0, -0.5, 0.5, 3.0]], np.float32)
    assert stability_score(logits, 1.0) == pytest.approx(1 / 3)
    assert stability_score(logits, 0.0) == 1.0
    assert stability_score(np.full((2, 2), -9, np.float32), 1.0) == 0.0


def test_of_boxes_that_overlap_the_best_scored_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]], float)
    assert nms(boxes, np.array([0.5, 0.9, 0.1, 0.5]), 0.7) == [1, 2]
    assert nms(boxes, np.array([0.5, 0.9, 0.1, 0.5]), 1.1) == [1, 0, 3, 2]
    assert nms(np.zeros((2, 4)), np.array([1.0, 2.0]), 0.5) == [1, 0]


def test_a_mask_that_ends_at_its_crops_border_is_cut_unless_the_photo_ends_there() -> None:
    crop, hw = (0, 0, 100, 100), (100, 300)
    assert is_cut_by_crop((50, 40, 95, 60), crop, hw)
    assert not is_cut_by_crop((5, 0, 60, 99), crop, hw)


def test_boxes_overlap_as_sam_counts_them_from_first_to_last_pixel() -> None:
    # (0, 0)-(9, 9) and (0, 0)-(9, 6) inclusive: 54 of 81; with their last pixels outside it would be 70 of 100.
    boxes = [(0, 0, 10, 10), (0, 0, 10, 7)]
    assert suppress(boxes, [0.9, 0.8], 0.68) == [0, 1]
    assert suppress(boxes, [0.8, 0.9], 0.66) == [1]
    assert suppress([], [], 0.5) == []


def test_small_holes_are_filled_and_small_islands_removed_but_never_the_last() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[18, 18] = True
    filled, changed = remove_small_regions(mask, 4, holes=True)
    assert changed
    assert filled[5, 5]
    assert filled[18, 18]
    cleaned, changed = remove_small_regions(mask, 4, holes=False)
    assert changed
    assert not cleaned[18, 18]
    assert cleaned.sum() == 99
    assert remove_small_regions(mask, 1, holes=True)[1] is False
    assert remove_small_regions(mask, 1000, holes=False)[0].sum() == 99
    assert remove_small_regions(np.zeros((4, 4), bool), 5, holes=False) == (pytest.approx(np.zeros((4, 4))), False)  # type: ignore[comparison-overlap]


def test_points_lie_in_the_middle_of_their_cells() -> None:
    grid = point_grid(2)
    assert grid.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_crops_cover_the_photo_and_overlap() -> None:
    crops = crop_boxes((300, 451), 2, 512 / 1500)
    assert [layer for layer, _ in crops] == [0] + [1] * 4 + [2] * 16
    for wanted in (1, 2):
        seen = np.zeros((300, 451), int)
        for layer, (x0, y0, x1, y1) in crops:
            if layer == wanted:
                seen[y0:y1, x0:x1] += 1
        assert seen.min() >= 1
        assert seen.max() >= 4
