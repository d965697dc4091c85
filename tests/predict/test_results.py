from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import mobilesam
from mobilesam import masks, rle
from mobilesam.data.shapes import PolygonShape
from mobilesam.errors import ImageError
from mobilesam.predict.results import Mask


def random_array(seed: int, hw: tuple[int, int] = (23, 31)) -> np.ndarray:
    return np.random.default_rng(seed).random(hw) > 0.7


def kept_both_ways(array: np.ndarray) -> tuple[Mask, Mask]:
    photo = np.full((*array.shape, 3), 100, np.uint8)
    return Mask(array, 0.5, photo), Mask(masks.to_rle(array), 0.5, photo)


@pytest.mark.parametrize("array", [*(random_array(seed) for seed in range(5)), np.zeros((4, 5), bool)])
def test_a_mask_kept_as_run_lengths_is_the_same_mask(array: np.ndarray) -> None:
    plain, runs = kept_both_ways(array)
    assert plain == runs
    np.testing.assert_array_equal(runs.array, array)
    assert (runs.area, runs.box_xyxy, runs.original_hw) == (plain.area, plain.box_xyxy, plain.original_hw)
    assert runs.to_dict() == plain.to_dict()
    assert runs.polygons() == plain.polygons()


@pytest.mark.parametrize("seed", range(20))
def test_the_box_of_a_dict_is_cocos(seed: int) -> None:
    for mask in kept_both_ways(random_array(seed, (9 + seed, 30 - seed))):
        assert mask.to_dict()["bbox"] == coco_mask.toBbox(mask.rle()).tolist()
        assert mask.to_coco(id=3)["bbox"] == coco_mask.toBbox(mask.rle()).tolist()


def test_masks_are_equal_when_their_pixels_and_scores_are() -> None:
    array = random_array(0)
    mask, other = Mask(array, 0.5), Mask(array.copy(), 0.5)
    assert (mask == other) is True
    assert mask in [other]
    shifted = np.roll(array, 1, axis=1)  # of the same area
    for different in (Mask(array, 0.6), Mask(~array, 0.5), Mask(shifted, 0.5), Mask(array[:5], 0.5)):
        assert (mask == different) is False
    assert mask != "mask"
    with pytest.raises(TypeError, match="unhashable"):
        hash(mask)


def test_predictions_are_equal_when_all_they_hold_is(coffee_embedding: mobilesam.ImageEmbedding) -> None:
    once, again = (coffee_embedding.predict(box=(170, 15, 260, 90), zoom=True) for _ in range(2))
    assert once.closeups
    assert (once == again) is True
    assert once in [again]
    assert (once == coffee_embedding.predict(box=(170, 15, 260, 90), zoom=False)) is False
    assert (once == coffee_embedding.predict(points=[(290, 120)])) is False
    assert once.best == again.best
    with pytest.raises(TypeError, match="unhashable"):
        hash(once)


def test_the_best_mask_alone_is_scaled_up(
    coffee_embedding: mobilesam.ImageEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = coffee_embedding.predict(points=[(290, 120)], multimask=True, zoom=False)
    upscale, calls = masks.upscale, []
    monkeypatch.setattr(masks, "upscale", lambda *arguments: calls.append(1) or upscale(*arguments))
    best = found.best
    assert best.area
    best.rle(), best.box_xyxy, found.best.array
    assert len(calls) == 1
    assert len(found.masks) == 3
    assert len(calls) == 4


def test_the_run_lengths_given_out_are_a_copy() -> None:
    mask = kept_both_ways(random_array(1))[1]
    area = int(mask.array.sum())
    rle = mask.rle()
    rle["counts"] = "nonsense"
    rle["size"][0] = 1
    assert mask.array.sum() == area


def test_either_kind_is_cut_out_and_saved(tmp_path: Path) -> None:
    for mask in kept_both_ways(random_array(2)):
        x0, y0, x1, y1 = mask.box_xyxy
        assert mask.cutout().size == (x1 - x0, y1 - y0)
        mask.save(tmp_path / "m.png")
        with Image.open(tmp_path / "m.png") as image:
            np.testing.assert_array_equal(np.asarray(image) == 255, mask.array)
        with pytest.raises(ImageError, match=r"use \.png"):
            mask.save(tmp_path / "m.xyz")


def test_a_mask_may_be_larger_than_one_whose_size_a_file_alone_states(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, runs = kept_both_ways(random_array(0))
    monkeypatch.setattr(rle, "MAX_PIXELS", 100)
    np.testing.assert_array_equal(runs.array, plain.array)
    assert runs.polygons() == plain.polygons()
    np.testing.assert_array_equal(PolygonShape(((2, 3, 20, 3, 20, 15),)).mask((23, 31))[4, 15:18], True)
