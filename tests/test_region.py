from __future__ import annotations

import numpy as np

from mobilesam.region import Region

REGION = Region(2, 1, 5, 3)


def test_a_region_is_cut_out_of_a_photo() -> None:
    assert REGION.hw == (2, 3)
    assert REGION.cut(np.arange(24).reshape(4, 6)).tolist() == [[8, 9, 10], [14, 15, 16]]


def test_its_mask_is_pasted_where_it_was_cut_out_and_the_rest_is_background() -> None:
    mask = np.array([[True, False, False], [False, True, False]])
    whole = REGION.paste(mask, (4, 6))
    assert np.argwhere(whole).tolist() == [[1, 2], [2, 3]]


def test_a_box_is_moved_into_the_region_and_cut_off_at_its_edges() -> None:
    assert REGION.inside((0, 0, 4, 9)) == (0, 0, 2, 2)
    assert REGION.inside((3, 1.5, 4, 2)) == (1, 0.5, 2, 1)
