from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.bounds import config_from
from mobilesam.model.config import CONFIGS, EMBEDDED, MOBILE_SAM, SAM_VIT_B, TINY, SamConfig


def write(path: Path, config: str, state: dict[str, torch.Tensor] | None = None) -> Path:
    save_file(state or {"a.b": torch.zeros(1)}, path, metadata={"mobilesam_config": config})
    return path


def changed(config: SamConfig, **encoder: object) -> dict[str, Any]:
    data = config.to_dict()
    return {**data, "encoder": {**data["encoder"], **encoder}}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_size_of_this_package_is_within_bounds(config: SamConfig) -> None:
    assert config_from(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "invalid JSON"),
        ("[" * 100_000, "invalid JSON"),
        ("{}", "lacks 'encoder'"),
        ("[1]", "cannot be read"),
        ('{"encoder": 3}', "cannot be read"),
        (json.dumps({**TINY.to_dict(), "image_size": 0}), "image_size"),
        (json.dumps({**TINY.to_dict(), "image_size": "64"}), "cannot be read"),
        (json.dumps({**TINY.to_dict(), "of_tomorrow": 1}), "of_tomorrow"),
        (json.dumps({**TINY.to_dict(), "decoder_heads": 0}), "decoder_heads"),
        (json.dumps(changed(TINY, mlp_ratio=float("nan"))), "mlp_ratio"),
        (json.dumps(changed(TINY, depths=[1, 1])), "depths"),
    ],
)
def test_a_configuration_that_is_none_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", text)
    with pytest.raises(ModelError, match=rf"m\.safetensors: .*{message}"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "data",
    [
        changed(TINY, depths=[10_000_000, 1, 1, 1]),
        changed(EMBEDDED, depths=[900] * 7),
        changed(TINY, embed_dims=[65536] * 4),
        changed(MOBILE_SAM, window_sizes=[10**6] * 4),
        changed(MOBILE_SAM, window_sizes=[128] * 4),
        changed(SAM_VIT_B, num_heads=0),
        {**SAM_VIT_B.to_dict(), "image_size": 16 * 10**8},
        {**TINY.to_dict(), "decoder_mlp_dim": 10**12},
    ],
)
def test_sizes_that_the_file_cannot_hold_are_refused_before_anything_is_built(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(config: SamConfig) -> None:
        raise AssertionError("memory was taken for what the file does not hold")

    monkeypatch.setattr(checkpoint, "Sam", build)
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        checkpoint.load(write(tmp_path / "m.safetensors", json.dumps(data)))
