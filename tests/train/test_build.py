from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mobilesam.errors import ModelError, SettingsError
from mobilesam.model import checkpoint, imagenet
from mobilesam.model.config import CONFIGS, EFFICIENTNET_LITE, EMBEDDED, TINY, TINY_LITE
from mobilesam.model.sam import Sam
from mobilesam.train.build import build_model, freeze, load_model, to_training_mode
from tests.helpers.training import recipe, train


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


def test_a_frozen_stage_stays_and_the_rest_of_its_part_learns(shard: Path, tmp_path: Path) -> None:
    frozen = replace(recipe(shard, tmp_path / "run", steps=2), model="tiny_lite", freeze=("image_encoder.stem",))
    torch.manual_seed(frozen.run.seed)
    before = Sam(TINY_LITE).state_dict()
    after = checkpoint.load(train(frozen)).state_dict()
    assert torch.equal(before["image_encoder.stem.conv.weight"], after["image_encoder.stem.conv.weight"])
    assert not torch.equal(before["image_encoder.neck.conv.weight"], after["image_encoder.neck.conv.weight"])


def test_parts_come_from_several_models(tmp_path: Path, tiny_checkpoint: Path) -> None:
    torch.manual_seed(1)
    mixed = build_model("tiny_lite", {"mask_decoder": str(tiny_checkpoint), "prompt_encoder": str(tiny_checkpoint)})
    torch.manual_seed(1)
    fresh, source = Sam(TINY_LITE).state_dict(), checkpoint.load(tiny_checkpoint).state_dict()
    for key, value in mixed.state_dict().items():
        expected = fresh[key] if key.startswith("image_encoder") else source[key]
        assert torch.equal(value, expected), key


def test_parts_that_do_not_fit_are_named(tiny_checkpoint: Path) -> None:
    with pytest.raises(ModelError, match=r"the image_encoder of .* does not fit tiny_lite: .* differs"):
        build_model("tiny_lite", {"image_encoder": str(tiny_checkpoint)})
    with pytest.raises(SettingsError, match="start_from names 'decoder'; the parts are image_encoder"):
        build_model("tiny_lite", {"decoder": str(tiny_checkpoint)})
    with pytest.raises(SettingsError, match="not the image_encoder of tiny"):
        build_model("tiny", {"image_encoder": "imagenet"})


def test_imagenet_weights_for_the_whole_model_are_refused_with_advice() -> None:
    with pytest.raises(SettingsError, match=r'write start_from = \{ image_encoder = "imagenet" \}'):
        build_model("embedded", "imagenet")


def test_every_size_that_has_imagenet_weights_is_a_model() -> None:
    names = {config.encoder: name for name, config in CONFIGS.items() if not name.startswith("tiny")}
    assert [names.get(EFFICIENTNET_LITE[size]) for size in imagenet.FILES] == [
        "embedded",
        "embedded_lite1",
        "embedded_lite2",
    ]
    assert replace(CONFIGS["embedded_lite1"], name="embedded", encoder=EMBEDDED.encoder) == EMBEDDED


def test_the_side_is_a_choice_where_the_encoder_has_one(tiny_checkpoint: Path) -> None:
    assert build_model("tiny_lite", "", 320).config.image_size == 320
    with pytest.raises(SettingsError, match="works at 64 px only"):
        build_model("tiny", str(tiny_checkpoint), 320)
    with pytest.raises(SettingsError, match="in steps of 32, not 300"):
        build_model("tiny_lite", "", 300)


def test_frozen_parts_stay_in_eval_mode() -> None:
    model = Sam(TINY)
    freeze(model, ("image_encoder",))
    to_training_mode(model, freeze_batch_norm=False)
    assert not model.image_encoder.training
    assert model.mask_decoder.training


def test_nothing_left_to_learn_and_unknown_parts_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"did you mean .*image_encoder.*the parts are image_encoder"):
        freeze(Sam(TINY), ("encoder",))
    with pytest.raises(SettingsError, match="nothing would learn"):
        freeze(Sam(TINY), ("image_encoder", "prompt_encoder", "mask_decoder"))


def test_a_runs_folder_stands_for_its_weights(shard: Path, tmp_path: Path) -> None:
    weights = train(recipe(shard, tmp_path / "run", steps=1))
    a, b = load_model(str(tmp_path / "run")), checkpoint.load(weights)
    assert all(torch.equal(a.state_dict()[k], v) for k, v in b.state_dict().items())
    with pytest.raises(ModelError, match="no-such-model"):
        load_model("no-such-model")
