from __future__ import annotations

import numpy as np
import pytest

from mobilesam.predict.closeup import OUTSIDE, Closeup, blend_weight
from mobilesam.region import Region

HW = (120, 200)


def closeup(region: tuple[int, int, int, int], goes_on: bool, value: float = 5.0) -> Closeup:
    return Closeup(Region(*region), np.full((16, 16), value, np.float32), 64, (64, 64), goes_on)


def test_after_a_box_nothing_outside_of_the_region_counts() -> None:
    whole = closeup((40, 30, 100, 90), goes_on=False).paste(np.full(HW, 3, np.float32))
    assert (whole[30:90, 40:100] == 5).all()
    whole[30:90, 40:100] = OUTSIDE
    assert (whole == OUTSIDE).all()


def test_after_a_click_the_logits_go_on_without_a_step() -> None:
    first = np.full(HW, -5, np.float32)
    whole = closeup((40, 30, 100, 90), goes_on=True).paste(first)
    margin = 5  # a twelfth of 60
    step = 10 / (margin + 1) + 1e-5
    assert np.abs(np.diff(whole, axis=0)).max() <= step
    assert np.abs(np.diff(whole, axis=1)).max() <= step
    assert (whole[30 + margin : 90 - margin, 40 + margin : 100 - margin] == 5).all()
    assert (first == -5).all()  # the first look's own logits stay
    whole[30:90, 40:100] = -5
    assert (whole == -5).all()


@pytest.mark.parametrize(
    ("region", "edges"),
    [
        ((0, 30, 60, 90), {"top", "right", "bottom"}),
        ((140, 60, 200, 120), {"top", "left"}),
        ((0, 0, 200, 120), set()),
        ((50, 0, 110, 120), {"left", "right"}),
    ],
)
def test_the_photos_own_edges_are_not_blended(region: tuple[int, int, int, int], edges: set[str]) -> None:
    weight = blend_weight(Region(*region), HW)
    middle_y, middle_x = weight.shape[0] // 2, weight.shape[1] // 2
    found = {
        "top": weight[0, middle_x],
        "bottom": weight[-1, middle_x],
        "left": weight[middle_y, 0],
        "right": weight[middle_y, -1],
    }
    assert {name for name, value in found.items() if value < 1} == edges
    assert weight[middle_y, middle_x] == 1


def test_a_region_of_one_pixel_can_be_pasted() -> None:
    whole = closeup((7, 9, 8, 10), goes_on=True).paste(np.zeros(HW, np.float32))
    assert whole[9, 7] == pytest.approx(2.5)
