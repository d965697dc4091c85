"""Every kind of checkpoint that loads, in one table; what it cannot be is said."""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import mobilesam
from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.backend import weights_sha256
from mobilesam.model.config import TINY, SamConfig, ViTConfig
from mobilesam.model.sam import Sam
from mobilesam.model.transformers_names import renamed

State = dict[str, Tensor]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "sam_model.json").read_text())


def under(prefix: str) -> Callable[[State], State]:
    return lambda state: {f"{prefix}{key}": value for key, value in state.items()}


def lightning(state: State) -> dict[str, Any]:
    """As Lightning writes a .ckpt, with plain hyperparameters."""
    return {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": under("model.")(state),
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 1e-4},
    }


FORMS: dict[str, Callable[[State], Any]] = {
    "a state dict": dict,
    "an ordered state dict": OrderedDict,
    "under model": lambda state: {"model": state, "epoch": 3},
    "under state_dict": lambda state: {"state_dict": state},
    "under model_state_dict, beside an optimizer": lambda state: {
        "model_state_dict": state,
        "optimizer": {},
        "epoch": 3,
    },
    "under a name of somebody's own": lambda state: {"ckpt": {"weights": state}, "optimizer": {"state": {}}},
    "beside an average": lambda state: {"model": state, "model_ema": {key: value + 1 for key, value in state.items()}},
    "of data-parallel training": under("module."),
    "of data-parallel training, under model": lambda state: {"model": under("module.")(state)},
    "of torch.compile": under("_orig_mod."),
    "of both, nested": lambda state: {"state_dict": {"model": under("_orig_mod.module.")(state)}},
    "of a compiled encoder": lambda state: {
        key.replace("image_encoder.", "image_encoder._orig_mod."): value for key, value in state.items()
    },
    "in an attribute": under("sam."),
    "in an attribute of an attribute, in parallel": lambda state: {"state_dict": under("module.net.sam_model.")(state)},
    "of Lightning": lightning,
}


SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".PTH")


@pytest.mark.parametrize(("form", "suffix"), [*zip(FORMS, itertools.cycle(SUFFIXES), strict=False)])
def test_weights_are_found_in_what_trainers_write(model: Sam, tmp_path: Path, form: str, suffix: str) -> None:
    torch.save(FORMS[form](model.state_dict()), tmp_path / f"m{suffix}")
    assert weights_sha256(checkpoint.load(tmp_path / f"m{suffix}")) == weights_sha256(model)


@pytest.mark.parametrize("prefix", ["", "module.", "sam.", "_orig_mod.module.net."])
def test_prefixes_are_found_in_safetensors_too(model: Sam, tmp_path: Path, prefix: str) -> None:
    save_file(under(prefix)(model.state_dict()), tmp_path / "m.safetensors")
    assert weights_sha256(checkpoint.load(tmp_path / "m.safetensors")) == weights_sha256(model)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "weights.safetensors", "anything.pt"])
def test_a_folder_is_loaded_by_the_file_in_it(model: Sam, tmp_path: Path, name: str) -> None:
    state = model.state_dict()
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no weights")
    assert mobilesam.load(tmp_path).info.weights_sha256 == weights_sha256(model)


def test_a_folder_of_several_checkpoints_says_so(model: Sam, tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        torch.save(model.state_dict(), tmp_path / name)
    with pytest.raises(ModelError, match=r"several checkpoints, a\.pt, b\.pt; give the path of one"):
        mobilesam.load(tmp_path)


@pytest.fixture
def theirs() -> State:
    """Random weights of a small `SamModel`, under the names that transformers gave them."""
    torch.manual_seed(0)
    state = {key: torch.randn(shape) for key, shape in GOLDEN["shapes"].items()}
    state["shared_image_embedding.positional_embedding"] = state["prompt_encoder.shared_embedding.positional_embedding"]
    return state


EXPECTED = SamConfig(
    name="custom",
    image_size=64,
    encoder=ViTConfig(
        embed_dim=16, depth=2, num_heads=2, global_attention_blocks=(1,), window_size=3, mlp_ratio=2.0
    ),
    embed_dim=32,
    decoder_mlp_dim=48,
    decoder_heads=2,
    mask_channels=8,
)  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_transformers_sam_model_is_read_with_its_sizes(theirs: State, tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GOLDEN["config"]))
    if name.endswith("bin"):
        torch.save(theirs, tmp_path / name)
    else:  # safetensors refuses two names for one tensor; transformers leaves one out
        save_file({key: value for key, value in theirs.items() if "shared_image" not in key}, tmp_path / name)
    found = checkpoint.load(tmp_path)
    assert found.config == EXPECTED
    state = found.state_dict()
    for ours, their in (
        ("image_encoder.blocks.1.norm2.weight", "vision_encoder.layers.1.layer_norm2.weight"),
        ("image_encoder.neck.1.bias", "vision_encoder.neck.layer_norm1.bias"),
        ("mask_decoder.transformer.norm_final_attn.bias", "mask_decoder.transformer.layer_norm_final_attn.bias"),
        ("mask_decoder.iou_prediction_head.layers.1.weight", "mask_decoder.iou_prediction_head.layers.0.weight"),
        ("prompt_encoder.mask_downscaling.4.weight", "prompt_encoder.mask_embed.layer_norm2.weight"),
    ):
        assert torch.equal(state[ours], theirs[their])


@pytest.mark.parametrize("prefix", ["", "model.", "module.sam."])
def test_transformers_names_are_read_without_a_configuration(theirs: State, tmp_path: Path, prefix: str) -> None:
    torch.save({"state_dict": under(prefix)(theirs)}, tmp_path / "m.pt")
    # The heads of the decoder are not in the weights, and its published number is assumed.
    assert checkpoint.load(tmp_path / "m.pt").config.encoder == EXPECTED.encoder


def test_every_name_of_transformers_has_one_of_ours(theirs: State) -> None:
    names = {renamed(key) for key in theirs if "shared_image" not in key}
    assert names == set(Sam(EXPECTED).state_dict())


def test_two_position_codes_that_differ_are_refused(theirs: State, tmp_path: Path) -> None:
    key = "shared_image_embedding.positional_embedding"
    torch.save({**theirs, key: theirs[key] + 1}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="differ; in SAM they are one"):
        checkpoint.load(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("vision_config", "use_rel_pos", False, r"vision_config\.use_rel_pos is False; the network here has True"),
        ("vision_config", "patch_size", 8, "patch_size is 8"),
        ("mask_decoder_config", "num_multimask_outputs", 4, "num_multimask_outputs is 4"),
        ("vision_config", "hidden_size", "wide", "describes no SAM"),
        ("vision_config", "num_hidden_layers", 10**9, "at most 1000 makes sense"),
        ("vision_config", "hidden_size", 32, "of another shape"),
        ("vision_config", None, [1], "vision_config must be an object"),
    ],
)
def test_a_configuration_of_another_network_is_refused(
    theirs: State, tmp_path: Path, section: str, key: str | None, value: Any, message: str
) -> None:
    config = json.loads(json.dumps(GOLDEN["config"]))
    config[section] = {**config[section], key: value} if key else value
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=message):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("kind", ["sam2", "sam_hq", "sam3", "timm_wrapper"])
def test_models_that_are_no_sam_are_named(theirs: State, tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**GOLDEN["config"], "model_type": kind}))
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=rf"model_type is '{kind}'; readable are 'sam'.*SAM 2, SAM-HQ"):
        checkpoint.load(tmp_path)


def test_an_encoder_alone_is_no_model(model: Sam, tmp_path: Path) -> None:
    state = {key: value for key, value in model.state_dict().items() if key.startswith("image_encoder.")}
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="not a whole SAM checkpoint: the key 'prompt_encoder"):
        checkpoint.load(tmp_path / "m.pt")


def test_our_configuration_and_weights_must_agree(model: Sam, tmp_path: Path) -> None:
    checkpoint.save(model, tmp_path / "model.safetensors")
    ours = {"model_type": "mobilesam", "mobilesam_config": TINY.to_dict()}
    (tmp_path / "config.json").write_text(json.dumps(ours))
    with pytest.raises(ModelError, match="describe different networks"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mobilesam"}))
    with pytest.raises(ModelError, match="lacks 'mobilesam_config'"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("name", ["", "..", "../a.bin", "/etc/passwd", "a\\b.bin", ".hidden"])
def test_a_part_is_a_file_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(ModelError, match="no file of its folder"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("index", ["{", "[1]", "{}", '{"weight_map": []}'])
def test_a_damaged_index_is_named(tmp_path: Path, index: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(index)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin\.index\.json"):
        checkpoint.load(tmp_path)


def test_parts_that_hold_one_weight_twice_are_refused(model: Sam, tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        save_file(model.state_dict(), tmp_path / name)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="two parts hold"):
        checkpoint.load(tmp_path)
