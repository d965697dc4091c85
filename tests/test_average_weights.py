from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.config import CONFIGS, TINY
from mobilesam.model.sam import Sam

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "average_weights.py"))


def filled(value: float) -> Sam:
    model = Sam(TINY)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, value)
    return model


def test_the_mean_weighs_every_model_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / f"{value}.safetensors" for value in (1, 2, 6)]
    for path in paths:
        checkpoint.save(filled(float(path.stem)), path)
    SCRIPT["main"]([*map(str, paths), "-o", str(tmp_path / "mean.safetensors")])
    mean = checkpoint.load(tmp_path / "mean.safetensors")
    assert all(torch.equal(p, torch.full_like(p, 3.0)) for p in mean.parameters())


def test_networks_of_two_sizes_have_no_mean() -> None:
    other = next(config for config in CONFIGS.values() if config != TINY)
    with pytest.raises(ModelError, match="of one size"):
        SCRIPT["average"]([Sam(TINY), Sam(other)])
