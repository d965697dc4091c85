from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from mobilesam.train import augment
from mobilesam.train.drawing import Colour, Facts, Paste, Window, are_usable, draw_plan
from mobilesam.train.photo_config import DataConfig

PLAIN = DataConfig(crop_probability=0, max_stretch=1, colour=0, paste_probability=0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A dark photo, 60x90, whose bright block is its one object."""
    rgb = np.full((60, 90, 3), 40, np.uint8)
    mask = np.zeros((60, 90), np.uint8)
    mask[10:40, 20:70] = 1
    rgb[mask > 0] = 220
    return rgb, mask


def place(
    rgb: np.ndarray, masks: list[np.ndarray], size: int, config: DataConfig, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a plan for one photo, without another to paste from, and carry it out."""
    areas = np.array([float(m.sum()) for m in masks])
    corners = [(np.nonzero(m.any(0))[0], np.nonzero(m.any(1))[0]) for m in masks]
    boxes = np.array([(x[0], y[0], x[-1] + 1, y[-1] + 1) for x, y in corners], float)
    facts = Facts(rgb.shape[:2], areas, boxes)
    config = replace(config, paste_probability=0)
    plan = draw_plan(
        lambda _: 0, lambda _: facts, config, size, config.object_crop_probability, np.random.default_rng(seed)
    )
    return augment.carry_out(plan, rgb, [masks[i] for i in plan.masks], None, size)


def test_place_ends_in_the_frame_of_inference() -> None:
    rgb, mask = scene()
    image, masks = place(rgb, [mask], 64, PLAIN, 0)
    assert image.shape == (64, 64, 3)
    assert masks.shape == (1, 64, 64)
    h = round(60 * 64 / 90)
    assert (image[h:] == np.round([123.675, 116.28, 103.53])).all()
    assert not masks[:, h:].any()


def test_a_side_that_shrinks_is_averaged_whatever_the_other_does() -> None:
    """A quarter of the columns is bright; between the two in the middle of four, all is dark."""
    stripes = np.zeros((40, 80), np.uint8)
    stripes[:, ::4] = 200
    for image, hw in ((stripes, (44, 20)), (stripes, (40, 20)), (stripes, (20, 20)), (stripes.T.copy(), (20, 44))):
        resized = augment.resize(image, hw, flip=False)
        assert resized.shape == hw
        assert (resized == 50).all(), hw


def test_image_and_mask_stay_aligned_under_every_augmentation() -> None:
    rgb, mask = scene()
    config = DataConfig(crop_probability=1, min_crop=0.5, max_stretch=1.4, colour=0.2, rotate_probability=0.5)
    for seed in range(20):
        image, masks = place(rgb, [mask], 96, config, seed)
        inside = masks[0].astype(bool)
        if not 200 < inside.sum() < 5000:
            continue
        bright = image.mean(axis=2) > 165
        assert (bright & inside).sum() / (bright | inside).sum() > 0.8


def test_flip_mirrors_both() -> None:
    rgb, mask = scene()
    sides = set()
    for seed in range(12):
        image, masks = place(rgb, [mask], 90, PLAIN, seed)
        left = int(masks[0].any(axis=0).argmax())
        assert image[20, left + 5, 0] == 220
        sides.add(left)
    assert sides == {20}, "the block is symmetric about the middle"
    lopsided = mask * (np.arange(90) < 45)
    lefts = {int(place(rgb, [lopsided], 90, PLAIN, s)[1][0].any(axis=0).argmax()) for s in range(12)}
    assert lefts == {20, 45}


def test_paste_adds_its_object_and_hides_what_lies_under() -> None:
    rgb, mask = scene()
    cut = np.zeros((30, 30, 3), np.uint8)
    cut[..., 2] = 255
    shape = np.zeros((30, 30), np.uint8)
    shape[5:25, 5:25] = 1
    for y, x, flip in ((0, 0, False), (20, 30, True), (35, 60, False)):
        plan = Paste(photo=1, mask=0, box=(5, 5, 25, 25), y=y, x=x, hw=(24, 22), flip=flip)
        out, masks = augment.paste(rgb, [mask * 255], cut, shape, plan)
        pasted, under = (m > 127 for m in masks)
        assert out.shape == rgb.shape
        assert pasted[y : y + 24, x : x + 22].all()
        assert pasted.sum() == 24 * 22
        assert not (pasted & under).any()
        assert ((pasted | under) >= (mask > 0)).all()
        assert (out[pasted > 0][:, 2] > 200).mean() > 0.7
    assert (rgb[mask > 0] == 220).all(), "the photo itself is not written to"


def test_colours_change_as_planned() -> None:
    rgb, _ = scene()
    assert augment.change_colour(rgb, None) is rgb
    brighter = augment.change_colour(rgb, Colour(contrast=1, saturation=1, brightness=20, gain=(1, 1, 1)))
    assert (brighter == rgb + 20).all()
    grey = augment.change_colour(
        np.full((2, 2, 3), (200, 100, 50), np.uint8), Colour(contrast=1, saturation=0, brightness=0, gain=(1, 1, 1))
    )
    assert (grey == grey[..., :1]).all()


def test_a_turned_window_shows_the_photo_turned_about_its_middle() -> None:
    rgb, _ = scene()
    rgb[29:31, 70:80] = (255, 0, 0)  # right of the middle
    window = Window(0, 0, 60, 90, angle=math.radians(90))
    turned = augment.cut_out(rgb, window, augment.MEAN)
    assert (turned[:14] == augment.MEAN).all(axis=-1).mean() > 0.3, "what lies outside of the photo is padding"
    reds = np.argwhere((turned == (255, 0, 0)).all(axis=-1))
    assert set(reds[:, 1]) <= {43, 44, 45, 46}, "counter-clockwise, so above the middle"
    assert reds[:, 0].max() < 10


def test_masks_are_usable_from_the_smallest_area_to_nearly_the_whole_square() -> None:
    areas = [0.0, 0.009, 0.01, 0.5, 0.949, 0.95, 1.0]
    expected = [False, False, True, True, True, False, False]
    assert are_usable(np.array(areas), 0.01).tolist() == expected
    assert are_usable(torch.tensor(areas, dtype=torch.float64), 0.01).tolist() == expected
    assert [bool(are_usable(np.uint64(1000 * area), 0.01, 1000)) for area in areas] == expected
