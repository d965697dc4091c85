from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.backend import weights_sha256
from mobilesam.model.config import CONFIGS, SamConfig
from mobilesam.model.sam import Sam


def test_an_encoder_of_a_newer_version_is_named(model: Sam, tmp_path: Path) -> None:
    config = model.config.to_dict()
    config["encoder"]["kind"] = "vit_of_tomorrow"
    save_file(model.state_dict(), tmp_path / "m.safetensors", metadata={"mobilesam_config": json.dumps(config)})
    with pytest.raises(ModelError, match=r"m\.safetensors: its encoder is a 'vit_of_tomorrow'"):
        checkpoint.load(tmp_path / "m.safetensors")


def test_safetensors_carry_their_configuration(model: Sam, tmp_path: Path) -> None:
    checkpoint.save(model, tmp_path / "m.safetensors")
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    assert weights_sha256(loaded) == weights_sha256(model)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_half_precision_files_load_as_float32(model: Sam, tmp_path: Path) -> None:
    checkpoint.save(model, tmp_path / "m.safetensors", dtype=torch.float16)
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_a_damaged_file_says_what_was_expected(model: Sam, tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"m{suffix}"
    if suffix == ".pt":
        torch.save(model.state_dict(), path)
    else:
        checkpoint.save(model, path)
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "foreign": b"<html>not found</html>", "empty": b""}[damage])
    with pytest.raises(ModelError, match=r"expected a checkpoint|not a readable safetensors"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"backbone.conv.weight": torch.zeros(1)}, r"expected keys such as .* found backbone\.conv\.weight"),
        ({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 8)}, "not a whole SAM checkpoint"),
        ([1, 2], "expected a dictionary of tensors, found list"),
    ],
)
def test_a_foreign_checkpoint_says_what_was_found(tmp_path: Path, state: object, message: str) -> None:
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=message):
        checkpoint.load(tmp_path / "m.pt")


def test_a_missing_and_an_extra_key_are_named(model: Sam, tmp_path: Path) -> None:
    state = model.state_dict()
    del state["mask_decoder.iou_token.weight"]
    save_file({**state, "extra.weight": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match=r"(?s)iou_token.*extra\.weight"):
        checkpoint.load(tmp_path / "m.safetensors")


def test_an_unknown_suffix_and_a_missing_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"expected a file \.pt, .*\.safetensors, found '\.onnx'"):
        checkpoint.load(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="no such file"):
        checkpoint.load(tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"encoder\.onnx is missing"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_survives_json(config: SamConfig) -> None:
    assert SamConfig.from_dict(config.to_dict()) == config


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:6dbb90523a35330fedd7f1d3dfc66f99\nsize 40728226\n"
WHAT_CAME_INSTEAD = {
    LFS: "a Git LFS pointer.*git lfs pull",
    "<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>": "a web page",
    "fatal: repository 'https://example.org/x.git/' not found\n": "a message of Git, 'fatal: repository",
    "404: Not Found": "a text, '404: Not Found'",
    "": "empty",
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize(("content", "message"), WHAT_CAME_INSTEAD.items())
def test_what_came_in_place_of_a_checkpoint_is_named(content: str, message: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"m{suffix}").write_text(content)
    with pytest.raises(ModelError, match=message) as caught:
        checkpoint.load(tmp_path / f"m{suffix}")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(model: Sam, tmp_path: Path, bad: float) -> None:
    with torch.no_grad():
        model.mask_decoder.iou_token.weight[0, 0] = bad
    torch.save(model.state_dict(), tmp_path / "m.pt")
    checkpoint.save(model, tmp_path / "m.safetensors")
    for name in ("m.pt", "m.safetensors"):
        with pytest.raises(ModelError, match=r"mask_decoder\.iou_token\.weight holds values that are not finite"):
            checkpoint.load(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_changed_bit_of_a_weight_is_found(model: Sam, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    if suffix == ".pt":
        torch.save(model.state_dict(), path)
    else:
        checkpoint.save(model, path)
    data = bytearray(path.read_bytes())
    weight = model.mask_decoder.iou_token.weight.detach().numpy().tobytes()
    data[data.index(weight)] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("old", [b'zoom_below\\": 0.0', b"mobilesam_config", b"click_zoom"])
def test_a_changed_configuration_is_found(model: Sam, tmp_path: Path, old: bytes) -> None:
    path = tmp_path / "m.safetensors"
    checkpoint.save(model, path)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, old[:-1] + bytes([old[-1] + 1])))
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(path)
