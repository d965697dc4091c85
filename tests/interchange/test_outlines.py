from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import mobilesam
from mobilesam.interchange.outlines import Outline, join, trace

EXAMPLES = Path(__file__).parents[2] / "examples"
HW = (240, 320)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    return np.hypot(columns - x, rows - y) < radius


def lines() -> dict[str, np.ndarray]:
    made = {
        name: np.zeros(HW, bool) for name in ("a row", "a column", "a pixel", "four pixels", "borders", "a diagonal")
    }
    made["a row"][100, 20:300] = True
    made["a column"][20:220, 7] = True
    made["a pixel"][100, 20] = True
    made["four pixels"][100:102, 20:22] = True
    made["borders"][:, -1] = made["borders"][-1] = True
    np.fill_diagonal(made["a diagonal"], True)
    return made


MASKS = {
    "a disc": disc(160, 120, 60),
    "a ring": disc(160, 120, 60) & ~disc(160, 120, 45),
    "rings in rings": (disc(160, 120, 90) & ~disc(160, 120, 70)) | (disc(160, 120, 50) & ~disc(160, 120, 30)),
    "many holes": disc(160, 120, 90) & ~disc(130, 120, 9) & ~disc(190, 120, 9) & ~disc(160, 80, 9) & ~disc(160, 160, 9),
    "two pieces": disc(90, 120, 40) | disc(230, 120, 38),
    "the whole photo": np.ones(HW, bool),
    **lines(),
}


def filled(polygons: list[np.ndarray], hw: tuple[int, int]) -> np.ndarray:
    """As pycocotools fills."""
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], *hw))) > 0


def filled_by_even_odd(outlines: list[Outline], hw: tuple[int, int]) -> np.ndarray:
    """As SVG's rule fills: each upright edge turns what lies to its right."""
    canvas = np.zeros(hw, bool)
    for loop in (loop for one in outlines for loop in (one.outer, *one.holes)):
        for (x, y), (x1, y1) in zip(loop, np.roll(loop, -1, axis=0), strict=True):
            assert x == x1 or y == y1
            if x == x1:
                canvas[min(y, y1) : max(y, y1), x:] ^= True
    return canvas


@pytest.mark.parametrize("name", MASKS)
def test_an_outline_gives_the_mask_back_however_it_is_filled(name: str) -> None:
    mask = MASKS[name]
    outlines = trace(mask)
    np.testing.assert_array_equal(filled_by_even_odd(outlines, HW), mask)
    np.testing.assert_array_equal(filled([join(outlines)], HW), mask)
    parts = [filled([join([one])], HW) for one in outlines]
    np.testing.assert_array_equal(np.sum(parts, axis=0), mask)


def test_noise_is_given_back_to_the_pixel_and_counted_as_opencv_counts() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        mask = rng.random(rng.integers(1, 24, 2)) < rng.random()
        outlines = trace(mask)
        pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
        around = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
        assert len(outlines) == pieces
        assert sum(len(one.holes) for one in outlines) == cv2.connectedComponents(around, connectivity=4)[0] - 2
        np.testing.assert_array_equal(filled_by_even_odd(outlines, mask.shape), mask)
        if pieces:
            np.testing.assert_array_equal(filled([join(outlines)], mask.shape), mask)


def test_the_object_lies_on_the_right_of_its_outlines() -> None:
    (ring,) = trace(MASKS["a ring"])
    areas = [cv2.contourArea(loop, oriented=True) for loop in (ring.outer, *ring.holes)]
    assert len(areas) == 2
    assert areas[0] > 0 > areas[1]
    assert sum(areas) == MASKS["a ring"].sum()


def test_a_bridge_is_short() -> None:
    polygon = join(trace(MASKS["two pieces"]))
    steps = np.abs(np.diff(polygon, axis=0)).max(axis=1)
    assert 60 <= steps.max() <= 70, "the discs are 62 pixels apart"


def test_an_empty_mask_has_no_outline() -> None:
    for hw in ((4, 5), (0, 0), (3, 0)):
        assert trace(np.zeros(hw, bool)) == []
    assert join([]).shape == (0, 2)


@pytest.mark.parametrize("photo", ["coffee.png", "chelsea.png"])
def test_masks_of_the_example_photos_come_back_from_one_polygon_each(embedded: mobilesam.Predictor, photo: str) -> None:
    image = embedded.embed(EXAMPLES / photo)
    found = image.predict(points=[(300, 150)], multimask=True)
    for mask in found.masks:
        assert mask.any()
        np.testing.assert_array_equal(filled([join(trace(mask))], mask.shape), mask)
