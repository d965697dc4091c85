from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilesam.errors import ModelError, SettingsError
from mobilesam.model import checkpoint
from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.train.build import freeze, load_model, to_training_mode
from train.test_loop import recipe, train


@pytest.mark.parametrize("part", ["image_encoder", "mask_decoder"])
def test_a_frozen_part_is_bit_identical_after_training(
    shard: Path, tmp_path: Path, tiny_checkpoint: Path, part: str
) -> None:
    frozen = replace(recipe(shard, tmp_path / "run", steps=4), start_from=str(tiny_checkpoint), freeze=(part,))
    before, after = (checkpoint.load(p).state_dict() for p in (tiny_checkpoint, train(frozen)))
    same = {k: torch.equal(before[k], after[k]) for k in before}
    # Statistics of batch norms are among them: a frozen encoder must not drift.
    assert all(equal for k, equal in same.items() if k.startswith(part))
    assert not all(same.values())


def test_frozen_parts_stay_in_eval_mode() -> None:
    model = Sam(TINY)
    freeze(model, ("image_encoder",))
    to_training_mode(model, freeze_batch_norm=False)
    assert not model.image_encoder.training
    assert model.mask_decoder.training


def test_nothing_left_to_learn_and_unknown_parts_are_refused() -> None:
    with pytest.raises(SettingsError, match="the parts are image_encoder"):
        freeze(Sam(TINY), ("encoder",))
    with pytest.raises(SettingsError, match="nothing would learn"):
        freeze(Sam(TINY), ("image_encoder", "prompt_encoder", "mask_decoder"))


def test_a_runs_folder_stands_for_its_weights(shard: Path, tmp_path: Path) -> None:
    weights = train(recipe(shard, tmp_path / "run", steps=1))
    a, b = load_model(str(tmp_path / "run")), checkpoint.load(weights)
    assert all(torch.equal(a.state_dict()[k], v) for k, v in b.state_dict().items())
    with pytest.raises(ModelError, match="no-such-model"):
        load_model("no-such-model")
