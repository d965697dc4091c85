from __future__ import annotations

import numpy as np

from mobilesam.data.views import make_view


def test_the_whole_photo_comes_first_and_crops_are_drawn_by_name_and_seed() -> None:
    array = np.arange(60 * 80).reshape(60, 80)
    np.testing.assert_array_equal(make_view("a", 0, (60, 80), 0).cut(array), array)
    crops = [
        make_view(name, i, (60, 80), seed) for name, i, seed in (("a", 1, 0), ("a", 2, 0), ("b", 1, 0), ("a", 1, 1))
    ]
    assert len(set(crops)) == 4
    assert crops[0] == make_view("a", 1, (60, 80), 0)
    for crop in crops:
        assert crop.cut(array).shape == (crop.height, crop.width)
        assert crop.height >= 30
        assert crop.width >= 40
    assert {make_view("a", i, (60, 80), 0).is_mirrored for i in range(1, 9)} == {True, False}


def test_the_draws_of_version_0_1_are_kept() -> None:
    """Stores hold what was drawn then."""
    view = make_view("sa_223750", 1, (1500, 2250), 0)
    assert (view.x, view.y, view.width, view.height, view.is_mirrored) == (643, 257, 1167, 1017, True)
