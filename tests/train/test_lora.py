from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilesam.errors import SettingsError
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY, TINY_LITE, SamConfig
from mobilesam.model.sam import Sam
from mobilesam.train import lora
from mobilesam.train.config import TrainRecipe
from mobilesam.train.learning_config import LoraConfig
from tests.helpers.closeness import assert_same_function
from tests.helpers.training import recipe, train


def test_at_first_an_adapter_changes_nothing_and_few_numbers_learn() -> None:
    model = Sam(TINY).eval()
    image = torch.rand(1, 3, 64, 64) * 255
    before = model.encode(image)
    lora.add(model, LoraConfig(rank=2, parts=("image_encoder",)))
    torch.testing.assert_close(model.encode(image), before)
    learning = sum(p.numel() for p in model.image_encoder.parameters() if p.requires_grad)
    assert 0 < learning < 0.3 * sum(p.numel() for p in model.image_encoder.parameters())
    assert all(p.requires_grad for p in model.mask_decoder.parameters())


@pytest.mark.parametrize("config", [TINY, TINY_LITE], ids=["attention", "convolutions"])
def test_merging_gives_an_ordinary_network_that_answers_the_same(config: SamConfig) -> None:
    model = Sam(config).eval()
    keys = set(model.state_dict())
    image = torch.rand(1, 3, 64, 64) * 255
    before = model.encode(image)
    lora.add(model, LoraConfig(rank=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".b"):
                parameter.normal_()
    adapted = model.encode(image)
    assert not torch.allclose(adapted, before)
    plain = Sam(config).eval()
    merged = lora.merged_state(model, model.state_dict())
    assert set(merged) == keys
    plain.load_state_dict(merged)
    assert_same_function(plain.encode(image).detach(), adapted.detach())


def test_a_run_with_adapters_leaves_all_but_linear_layers_as_they_were(
    shard: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    tuned = replace(recipe(shard, tmp_path / "run", steps=4), start_from=str(tiny_checkpoint), lora=LoraConfig(rank=2))
    after = checkpoint.load(train(tuned)).state_dict()
    before = checkpoint.load(tiny_checkpoint).state_dict()
    assert after.keys() == before.keys()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert any(k.startswith("image_encoder.layers") for k in changed)
    assert any(k.startswith("mask_decoder.transformer") for k in changed)
    assert not any("patch_embed.seq.0.c" in k or ("norm" in k and "weight" in k) for k in changed)


def test_a_resumed_run_goes_on_with_its_adapters(shard: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    def tuned(name: str, steps: int) -> TrainRecipe:
        base = recipe(shard, tmp_path / name, steps)
        optim = replace(base.optim, min_lr_ratio=1.0)
        return replace(base, start_from=str(tiny_checkpoint), lora=LoraConfig(rank=2), optim=optim)

    whole = checkpoint.load(train(tuned("whole", 6))).state_dict()
    train(tuned("two", 3))
    resumed = checkpoint.load(train(tuned("two", 6), resume=True)).state_dict()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_adapters_on_a_part_without_layers_are_refused() -> None:
    with pytest.raises(SettingsError, match="prompt_encoder"):
        lora.add(Sam(TINY), LoraConfig(rank=2, parts=("prompt_encoder",)))
