from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import mobilesam
from mobilesam.errors import ModelError
from mobilesam.model import checkpoint
from mobilesam.model.backend import weights_sha256
from mobilesam.model.sam import Sam


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="weights_only"):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


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
        {f"sam.{key}": value for key, value in state.items()},
        {"state_dict": {f"net.sam_model.{key}": value for key, value in parallel.items()}, "epoch": 1},
        {key.replace("image_encoder.", "image_encoder._orig_mod."): value for key, value in state.items()},
        {"teacher": state},
        {"ckpt": {"weights": parallel}, "optimizer": {"state": {}}},
        {"model": state, "model_ema": {key: value + 1 for key, value in state.items()}},
        {"model": {"name": "vit_t"}, "params": state},
    ]
    for i, form in enumerate(forms):
        torch.save(form, tmp_path / f"{i}.pt")
        assert weights_sha256(checkpoint.load(tmp_path / f"{i}.pt")) == weights_sha256(model)
    save_file(parallel, tmp_path / "m.safetensors")
    assert weights_sha256(checkpoint.load(tmp_path / "m.safetensors")) == weights_sha256(model)


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".PTH"])
def test_other_suffixes_of_torch_files_are_read(model: Sam, tmp_path: Path, suffix: str) -> None:
    torch.save(model.state_dict(), tmp_path / f"m{suffix}")
    assert weights_sha256(checkpoint.load(tmp_path / f"m{suffix}")) == weights_sha256(model)
    assert mobilesam.load(tmp_path / f"m{suffix}").info.weights_sha256 == weights_sha256(model)


def test_of_two_networks_none_is_chosen_by_chance(model: Sam, tmp_path: Path) -> None:
    torch.save({"teacher": model.state_dict(), "student": model.state_dict()}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="2 networks, under 'teacher', 'student'; save the one"):
        checkpoint.load(tmp_path / "m.pt")


def test_names_that_would_become_one_stay_as_they_are(model: Sam, tmp_path: Path) -> None:
    state = model.state_dict()
    torch.save({**state, "module.mask_decoder.iou_token.weight": torch.zeros(1)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"unknown: module\.mask_decoder"):
        checkpoint.load(tmp_path / "m.pt")


def test_a_whole_object_is_refused_without_the_advice_to_run_it(model: Sam, tmp_path: Path) -> None:
    torch.save(model, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"Python object \(mobilesam\.model\.sam\.Sam\).*state_dict") as caught:
        checkpoint.load(tmp_path / "m.pt")
    assert "two options" not in str(caught.value)


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
