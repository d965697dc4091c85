"""The warning about photos that were normalised before the model normalises them."""

from __future__ import annotations

import numpy as np
import pytest


def photo(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 3 * 256 * 512, dtype=np.float32).reshape(1, 3, 256, 512)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-2.1, 2.6), (-2.1, -0.1), (-2.2, 0), (-1, 1), (-124, 151), (0, 65535)]
)
def test_a_photo_in_another_range_is_warned_of_once(embedded, said, low: float, high: float) -> None:
    for _ in range(2):
        embedded.backend.encode(photo(low, high))
    assert len(said.records) == 1
    assert "give RGB from 0 to 255" in said.text


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 0), (0, 20), (-5, 258)])
def test_a_photo_in_the_models_range_is_not(embedded, said, low: float, high: float) -> None:
    embedded.backend.encode(photo(low, high))
    assert not said.records


@pytest.mark.torch
def test_a_tensor_given_to_compat_is_checked_too(embedded, said) -> None:
    import torch

    from mobilesam.compat import SamPredictor, sam_model_registry

    predictor = SamPredictor(sam_model_registry["embedded"]())
    predictor.set_torch_image(torch.from_numpy(photo(-2, 2)), (256, 512))
    assert len(said.records) == 1
