from __future__ import annotations

import numpy as np

from mobilesam.draw import COLOURS, overlay, overlay_labels


def test_overlay_changes_the_mask_and_leaves_the_photo_alone() -> None:
    rgb = np.full((60, 80, 3), 100, np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 20:50] = True
    picture = overlay(rgb, [mask], points=[(70, 10)], labels=[0], box=(15, 15, 60, 45))
    assert (rgb == 100).all()
    assert (picture[30, 35] != 100).any()  # tint
    assert (picture[20, 35] == 255).all()  # outline
    assert (picture[55, 5] == 100).all()  # untouched
    assert picture[10, 70, 0] > picture[10, 70, 1]  # a background point is red


def test_one_mask_is_tinted_alike_alone_and_among_labels() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    labels = np.zeros((60, 80), np.uint16)
    labels[20:40, 20:50] = 1
    labels[5:15, 60:75] = len(COLOURS) + 1  # the colours begin anew
    many, one = overlay_labels(rgb, labels), overlay(rgb, [labels > 0])
    inside = (slice(24, 36), slice(24, 46)), (slice(9, 11), slice(64, 71))
    for place in inside:
        np.testing.assert_array_equal(many[place], one[place])
    assert (many[20, 30] == 255).all()
    assert (many[50] == rgb[50]).all()


def test_a_prompt_far_outside_of_the_photo_is_drawn_up_to_its_edge() -> None:
    rgb = np.zeros((30, 40, 3), np.uint8)
    far = overlay(rgb, [], points=[(-1e30, 5)], labels=[1], box=(6, 4, 2.0**63, 1e30))
    np.testing.assert_array_equal(far, overlay(rgb, [], box=(6, 4, 70, 70)))
    assert far[4, 20].tolist() == [255, 255, 255]
