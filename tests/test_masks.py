from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mobilesam import boxes, masks
from mobilesam.errors import DataError
from mobilesam.masks import from_polygons, from_rle, to_polygons, to_rle, upscale


def ring() -> np.ndarray:
    y, x = np.mgrid[:40, :50]
    radius = np.hypot(x - 20, y - 20)
    return (radius < 15) & (radius > 6)


def random_mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((23, 31)) > 0.6


@pytest.mark.parametrize("mask", [ring(), random_mask(1), np.zeros((4, 5), bool), np.ones((4, 5), bool)])
def test_rle_and_polygons_give_the_same_mask_back(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(from_rle(to_rle(mask)), mask)
    np.testing.assert_array_equal(from_polygons(to_polygons(mask), mask.shape), mask)


def test_iou_is_the_shared_part_and_what_two_empty_masks_have_is_said() -> None:
    a, empty = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    a[0, :4] = True
    b = np.roll(a, 1, axis=1)
    assert masks.iou(a, b) == 3 / 5
    assert (masks.iou(a, a), masks.iou(a, empty)) == (1.0, 0.0)
    assert (masks.iou(empty, empty), masks.iou(empty, empty, both_empty=0.0)) == (1.0, 0.0)


def test_rle_is_cocos_and_json_able() -> None:
    rle = to_rle(ring())
    assert rle["size"] == [40, 50]
    assert isinstance(rle["counts"], str)
    assert coco_mask.area(rle) == ring().sum()


def test_polygons_keep_holes_and_pieces_apart() -> None:
    mask = ring()
    mask[35:39, 45:49] = True
    polygons = to_polygons(mask)
    assert sorted(len(p.holes) for p in polygons) == [0, 1]


def test_box_is_tight_with_exclusive_right_and_bottom() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    assert boxes.from_mask(mask) == (3, 2, 9, 5)
    assert boxes.xyxy_to_xywh((3, 2, 9, 5)) == (3, 2, 6, 3)
    assert boxes.from_mask(np.zeros((3, 3), bool)) == (0, 0, 0, 0)


def test_upscale_crops_the_padding_before_it_reaches_the_photo() -> None:
    # A landscape photo: the lower half of the square is padding and holds nonsense.
    low_res = np.full((16, 16), -5.0, np.float32)
    low_res[:8, :8] = 5
    low_res[8:] = 99
    logits = upscale(low_res, 64, (32, 64), (100, 200))
    assert logits.shape == (100, 200)
    assert (logits[:90, :90] > 0).all()
    assert (logits[:90, 110:] < 0).all()


@pytest.mark.torch
def test_upscale_equals_the_references_interpolation() -> None:
    import torch
    import torch.nn.functional as F

    low_res = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    square = F.interpolate(torch.from_numpy(low_res)[None, None], (1024, 1024), mode="bilinear", align_corners=False)
    expected = F.interpolate(square[..., :683, :1024], (400, 600), mode="bilinear", align_corners=False)[0, 0].numpy()
    np.testing.assert_allclose(upscale(low_res, 1024, (683, 1024), (400, 600)), expected, atol=1e-4)


def test_threshold_is_strict() -> None:
    assert masks.threshold(np.array([-1.0, 0.0, 1e-6], np.float32)).tolist() == [False, False, True]


@pytest.mark.parametrize("mask", [np.zeros((2, 3, 4), bool), np.ones((3, 3)), [["a"]], 5])
def test_what_is_no_mask_has_no_run_lengths(mask: object) -> None:
    with pytest.raises(DataError, match="a mask is Boolean"):
        to_rle(mask)  # type: ignore[arg-type]


def test_masks_of_whole_numbers_are_objects_where_they_are_not_zero() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 1:] = True
    others: tuple[Any, ...] = (mask.tolist(), mask.astype(np.int64) * 70, mask.astype(np.uint8) * 255)
    for other in others:
        assert to_rle(other) == to_rle(mask)


@pytest.mark.parametrize("hw", [(0, 0), (0, 5), (5, 0)])
def test_a_mask_without_pixels_is_refused_as_one(hw: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=f"a mask has pixels; found {hw[0]} rows and {hw[1]} columns"):
        masks.to_rle(np.zeros(hw, bool))
