from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilesam.model import checkpoint
from mobilesam.model.config import EMBEDDED, TINY, TINY_LITE
from mobilesam.model.sam import Sam


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_plain_state_dict_loads_and_its_type_is_read_off_the_keys(model: Sam, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(model.state_dict(), path)
    loaded = checkpoint.load(path)
    # Neither the image size nor the heads of the decoder are in the weights; the published values are assumed.
    assert loaded.config.encoder == replace(TINY.encoder, num_heads=loaded.config.encoder.num_heads)
    assert loaded.config.image_size == 1024
    assert not loaded.training
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value)


def test_a_convolutional_encoder_is_read_off_the_keys_too(tmp_path: Path) -> None:
    torch.save(Sam(TINY_LITE).state_dict(), tmp_path / "lite.pt")
    loaded = checkpoint.load(tmp_path / "lite.pt").config
    assert (loaded.encoder, loaded.image_size) == (TINY_LITE.encoder, EMBEDDED.image_size)
