from __future__ import annotations

import numpy as np
import pytest

from mobilesam import masks
from mobilesam.errors import SettingsError
from mobilesam.predict.results import Mask


def dot(hw: tuple[int, int] = (41, 61)) -> Mask:
    array = np.zeros(hw, bool)
    array[20, 30] = True
    return Mask(array, 0.5)


def distances(hw: tuple[int, int] = (41, 61)) -> np.ndarray:
    y, x = np.mgrid[: hw[0], : hw[1]]
    return np.hypot(y - 20, x - 30)


@pytest.mark.parametrize("grow", [0, 1, 5, 7.5, 100])
def test_an_object_grows_by_that_many_pixels_along_round_corners(grow: float) -> None:
    picture = dot().for_inpainting(grow=grow)
    assert picture.shape == (41, 61)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.where(distances() <= grow, 255, 0))


def test_the_feather_falls_in_a_straight_line_outside_of_what_is_painted_for_sure() -> None:
    picture = dot().for_inpainting(grow=3, feather=9).astype(int)
    row = picture[20, 30:]
    assert row[:4].tolist() == [255] * 4
    np.testing.assert_allclose(row[4:13], [255 * (1 - i / 10) for i in range(1, 10)], atol=0.51)
    assert not row[13:].any()
    assert (np.diff(row) <= 0).all()


def test_masks_stored_as_run_lengths_and_masks_without_pixels_have_pictures_too() -> None:
    stored = Mask(masks.to_rle(dot().array), 0.5)
    np.testing.assert_array_equal(stored.for_inpainting(), dot().for_inpainting())
    assert not Mask(np.zeros((5, 6), bool), 0.5).for_inpainting(grow=3, feather=2).any()
    assert Mask(np.ones((5, 6), bool), 0.5).for_inpainting().min() == 255


@pytest.mark.parametrize("wrong", [{"grow": -1}, {"feather": -0.1}, {"grow": float("nan")}, {"feather": float("inf")}])
def test_what_is_no_number_of_pixels_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=rf"{next(iter(wrong))} must be 0 or more pixels"):
        dot().for_inpainting(**wrong)
