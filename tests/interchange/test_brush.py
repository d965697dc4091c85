"""Label Studio's run lengths, read back by a decoder written for this test."""

from __future__ import annotations

import numpy as np
import pytest

from mobilesam.interchange.brush import to_brush
from tests.helpers.readers import decode_brush


@pytest.mark.parametrize("hw", [(1, 1), (3, 5), (40, 61), (300, 7)])
def test_brush_run_lengths_restore_the_mask(hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.random(hw) > 0.5
    blob = np.zeros(hw, bool)
    blob[hw[0] // 4 : hw[0] // 2 + 1, hw[1] // 4 : hw[1] // 2 + 1] = True
    for mask in (noise, blob, np.zeros(hw, bool), np.ones(hw, bool)):
        pixels = decode_brush(to_brush(mask)).reshape(*hw, 4)
        assert np.array_equal(pixels, np.repeat(mask[..., None], 4, axis=2) * 255)


def test_runs_longer_than_the_widest_length_are_split() -> None:
    mask = np.ones((300, 400), bool)
    assert np.array_equal(decode_brush(to_brush(mask)), np.full(300 * 400 * 4, 255))
    assert len(to_brush(mask)) < 100


def test_the_head_is_as_described() -> None:
    numbers = to_brush(np.array([[True, False]]))
    assert numbers[:4] == [0, 0, 0, 8]  # 8 bytes
    assert numbers[4] >> 3 == 7  # 8 bits each
