from __future__ import annotations

import numpy as np

from mobilesam.draw import overlay


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
