from __future__ import annotations

import torch

from mobilesam.train.square import in_photo


def test_the_part_that_a_photo_covers() -> None:
    inside = in_photo(torch.tensor([[2, 4], [4, 1]]), 4)
    assert inside.shape == (2, 1, 4, 4)
    assert inside[0, 0].sum() == 8
    assert inside[0, 0, :2].all()
    assert inside[1, 0, :, 0].all()
    assert inside[1, 0].sum() == 4
