from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.backend import weights_sha256
from mobilesam.model.config import CONFIGS, EMBEDDED, TINY, TINY_LITE, SamConfig
from mobilesam.model.sam import Sam


@pytest.fixture
def model() -> Sam:
    torch.manual_seed(0)
    return Sam(replace(TINY, image_size=96)).eval()


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


def test_an_exported_pair_gives_its_weights_back(tiny_checkpoint: Path, tiny_pair: Path) -> None:
    original, recovered = checkpoint.load(tiny_checkpoint), checkpoint.load(tiny_pair)
    assert recovered.config == original.config
    assert weights_sha256(recovered) == weights_sha256(original)


def test_half_precision_files_load_as_float32(model: Sam, tmp_path: Path) -> None:
    checkpoint.save(model, tmp_path / "m.safetensors", dtype=torch.float16)
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="weights_only"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


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
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"expected \.pt, \.pth or \.safetensors, found '\.bin'"):
        checkpoint.load(tmp_path / "m.bin")
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


@pytest.mark.parametrize("content", [LFS, "<html>"])
def test_what_came_in_place_of_a_graph_is_named(content: str, tmp_path: Path) -> None:
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=r"a Git LFS pointer|a web page"):
        checkpoint.load(tmp_path)


def test_weights_are_found_inside_what_trainers_write(model: Sam, tmp_path: Path) -> None:
    state = model.state_dict()
    parallel = {f"module.{key}": value for key, value in state.items()}
    compiled = {f"_orig_mod.{key}": value for key, value in parallel.items()}
    forms = [
        {"model": state, "epoch": 3},
        {"state_dict": state},
        {"model_state_dict": state, "optimizer": {}, "epoch": 3},
        parallel,
        {"model": parallel, "epoch": 1},
        {"state_dict": {"model": compiled}},
    ]
    for i, form in enumerate(forms):
        torch.save(form, tmp_path / f"{i}.pt")
        assert weights_sha256(checkpoint.load(tmp_path / f"{i}.pt")) == weights_sha256(model)
    save_file(parallel, tmp_path / "m.safetensors")
    assert weights_sha256(checkpoint.load(tmp_path / "m.safetensors")) == weights_sha256(model)


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


def test_two_entries_of_one_name_are_refused(model: Sam, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("m/data/3", archive.read("m/data/4"))
    with pytest.raises(ModelError, match="two entries have one name"):
        checkpoint.load(tmp_path / "m.pt")


def test_a_zip_in_several_parts_is_refused(model: Sam, tmp_path: Path) -> None:
    torch.save(model.state_dict(), tmp_path / "m.pt")
    data = bytearray((tmp_path / "m.pt").read_bytes())
    data[data.rindex(b"PK\x06\x07") + 16] = 9  # number of parts
    (tmp_path / "m.pt").write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({1: torch.zeros(1)}, "by their names, found 1"),
        ({"a.b": "text"}, "found 'a.b': str"),
        ({"a.b": torch.zeros(2, 2).to_sparse()}, "no plain tensor"),
        ({"a.b": torch.zeros(1).expand(10**12)}, "claims more values"),
        ({"image_encoder.pos_embed": torch.zeros(3)}, "shape that no SAM has"),
    ],
)
def test_tensors_that_are_no_weights_are_named(state: object, message: str, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=message):
        checkpoint.load(tmp_path / "m.pt")
