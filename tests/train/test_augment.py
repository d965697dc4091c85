from __future__ import annotations

import numpy as np

from mobilesam.train import augment
from mobilesam.train.config import DataConfig

PLAIN = DataConfig(crop_probability=0, max_stretch=1, colour=0, paste_probability=0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A dark photo, 60x90, whose bright block is its one object."""
    rgb = np.full((60, 90, 3), 40, np.uint8)
    mask = np.zeros((60, 90), np.uint8)
    mask[10:40, 20:70] = 1
    rgb[mask > 0] = 220
    return rgb, mask


def test_place_ends_in_the_frame_of_inference() -> None:
    rgb, mask = scene()
    image, masks = augment.place(rgb, [mask], 64, PLAIN, np.random.default_rng(0))
    assert image.shape == (64, 64, 3)
    assert masks.shape == (1, 64, 64)
    h = round(60 * 64 / 90)
    assert (image[h:] == np.round([123.675, 116.28, 103.53])).all()
    assert not masks[:, h:].any()


def test_image_and_mask_stay_aligned_under_every_augmentation() -> None:
    rgb, mask = scene()
    config = DataConfig(crop_probability=1, min_crop=0.5, max_stretch=1.4, colour=0.2)
    for seed in range(20):
        image, masks = augment.place(rgb, [mask], 96, config, np.random.default_rng(seed))
        inside = masks[0].astype(bool)
        if not 200 < inside.sum() < 5000:
            continue
        bright = image.mean(axis=2) > 165
        assert (bright & inside).sum() / (bright | inside).sum() > 0.8


def test_flip_mirrors_both() -> None:
    rgb, mask = scene()
    sides = set()
    for seed in range(12):
        image, masks = augment.place(rgb, [mask], 90, PLAIN, np.random.default_rng(seed))
        left = int(masks[0].any(axis=0).argmax())
        assert image[20, left + 5, 0] == 220
        sides.add(left)
    assert sides == {20}, "the block is symmetric about the middle"
    lopsided = mask * (np.arange(90) < 45)
    lefts = {
        int(augment.place(rgb, [lopsided], 90, PLAIN, np.random.default_rng(s))[1][0].any(axis=0).argmax())
        for s in range(12)
    }
    assert lefts == {20, 45}


def test_paste_adds_its_object_and_hides_what_lies_under() -> None:
    rgb, mask = scene()
    cut = np.zeros((30, 30, 3), np.uint8)
    cut[..., 2] = 255
    shape = np.zeros((30, 30), np.uint8)
    shape[5:25, 5:25] = 1
    for seed in range(10):
        out, masks = augment.paste(rgb, [mask], cut, shape, np.random.default_rng(seed))
        pasted, under = masks
        assert out.shape == rgb.shape
        assert not (pasted & under).any()
        assert (pasted | under).sum() >= mask.sum()
        assert (out[pasted > 0][:, 2] > 200).mean() > 0.7
    assert (rgb[mask > 0] == 220).all(), "the photo itself is not written to"


def test_colour_jitter_of_zero_changes_nothing() -> None:
    rgb, _ = scene()
    assert augment.jitter_colour(rgb, 0, np.random.default_rng(0)) is rgb
    assert (augment.jitter_colour(rgb, 0.5, np.random.default_rng(0)) != rgb).any()
