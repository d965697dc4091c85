from __future__ import annotations

import numpy as np

from mobilesam.data.geometry import pad_square, shrink


def test_a_pixel_of_a_shrunken_mask_counts_when_half_of_it_is_covered() -> None:
    mask = np.zeros((4, 8), bool)
    mask[:2, :2], mask[0, 2:4], mask[0, 6] = True, True, True
    mask[2:, 4:6] = [[True, True], [True, False]]
    np.testing.assert_array_equal(shrink(mask, (2, 4)), [[1, 1, 0, 0], [0, 0, 1, 0]])


def test_padding_lies_right_and_bottom() -> None:
    padded = pad_square(np.ones((2, 1, 3), np.float32), 4)
    assert padded.shape == (2, 4, 4)
    assert padded[:, :1, :3].all()
    assert padded.sum() == 6
