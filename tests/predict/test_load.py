from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import MissingExtraError, ModelError, SettingsError
from mobilesam.weights import MODELS, pair_folder
from tests.helpers.closeness import assert_same_function, assert_same_masks

BUILTIN = pair_folder(MODELS["embedded"])


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'vit_x'; known: embedded, mobile_sam"):
        mobilesam.load("vit_x")


def test_an_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="auto, onnx, openvino, litert, executorch, coreml, torch"):
        mobilesam.load(backend="tensorrt")


def test_onnx_refuses_a_checkpoint_and_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"mobilesam export x\.pt"):
        mobilesam.load("x.pt", backend="onnx")


@pytest.mark.parametrize("backend", ["auto", "onnx", "torch"])
@pytest.mark.parametrize("threads", [-1, 0, "a", True, 1.0])
def test_threads_that_are_no_number_of_threads_are_refused(backend: str, threads: object) -> None:
    with pytest.raises(SettingsError, match=rf"threads must be a whole number of at least 1, or None, not {threads!r}"):
        mobilesam.load(backend=backend, threads=threads)


def test_threads_may_be_a_number_of_numpy() -> None:
    assert mobilesam.load(threads=np.int64(1), quick_start=True).info.name == "embedded"


@pytest.mark.torch
def test_threads_are_also_those_of_torch(tiny_checkpoint: Path) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (2, 3):
            mobilesam.load(tiny_checkpoint, threads=threads)
            assert torch.get_num_threads() == threads
        mobilesam.load(tiny_checkpoint)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_missing_device_is_refused_loudly() -> None:
    with pytest.raises(ModelError, match="cannot run on 'npu'"):
        mobilesam.load(backend="onnx", device="npu")


@pytest.mark.parametrize(
    ("machine", "has_openvino", "quick_start", "expected"),
    [
        ("x86_64", True, False, "OpenVinoBackend"),
        ("AMD64", True, False, "OpenVinoBackend"),
        ("x86_64", True, True, "OnnxBackend"),
        ("x86_64", False, False, "OnnxBackend"),
        ("arm64", True, False, "OnnxBackend"),
    ],
)
def test_auto_takes_openvino_where_it_is_installed_and_worth_opening(
    machine: str, has_openvino: bool, quick_start: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if expected == "OpenVinoBackend":
        pytest.importorskip("openvino")
    monkeypatch.setattr("mobilesam.predict.load.is_installed", lambda name: has_openvino)
    monkeypatch.setattr("platform.machine", lambda: machine)
    sam = mobilesam.load(quick_start=quick_start, threads=1)
    assert type(sam.backend).__name__ == expected


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None)
    monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path))
    for arguments in ({"backend": "torch"}, {"model": "mobile_sam"}):
        with pytest.raises(MissingExtraError, match=r"pip install .*\[torch\]"):
            mobilesam.load(**arguments)
    assert not any(tmp_path.iterdir())  # asked before anything was downloaded


def test_a_quick_start_gives_the_same_masks(embedded: mobilesam.Predictor, coffee: Path) -> None:
    quick = mobilesam.load(quick_start=True).embed(coffee).predict(points=[(300, 180)])
    usual = embedded.embed(coffee).predict(points=[(300, 180)])
    assert_same_function(quick.low_res, usual.low_res)
    assert_same_masks(quick.masks, usual.masks)


def test_a_folder_without_a_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encoder\.onnx does not exist"):
        mobilesam.load(tmp_path)


@pytest.mark.parametrize("damage", ["truncate", "foreign"])
def test_a_damaged_pair_is_refused(tmp_path: Path, damage: str) -> None:
    shutil.copytree(BUILTIN, tmp_path / "m")
    encoder = tmp_path / "m" / "encoder.onnx"
    encoder.write_bytes(encoder.read_bytes()[:100_000] if damage == "truncate" else b"hello")
    with pytest.raises(ModelError, match="damaged"):
        mobilesam.load(tmp_path / "m")


@pytest.mark.torch
def test_halves_of_different_models_are_refused(tmp_path: Path, tiny_pair: Path) -> None:
    shutil.copy(BUILTIN / "encoder.onnx", tmp_path)
    shutil.copy(tiny_pair / "decoder.onnx", tmp_path)
    with pytest.raises(ModelError, match="different models"):
        mobilesam.load(tmp_path)


@pytest.mark.torch
def test_torch_and_onnx_backends_give_the_same_masks(embedded: mobilesam.Predictor, coffee: Path) -> None:
    in_torch = mobilesam.load(backend="torch")
    assert in_torch.info.weights_sha256 == embedded.info.weights_sha256
    for prompt in ({"points": [(300, 180)]}, {"box": (120, 60, 480, 320)}):
        a, b = embedded.embed(coffee).predict(**prompt), in_torch.embed(coffee).predict(**prompt)
        assert_same_function(a.low_res, b.low_res)
        assert_same_function(a.scores, b.scores)
        assert (a.masks & b.masks).sum() / (a.masks | b.masks).sum() > 0.999


@pytest.mark.torch
def test_a_checkpoint_loads_in_torch_and_a_missing_one_is_named(tmp_path: Path, tiny_checkpoint: Path) -> None:
    found = mobilesam.load(tiny_checkpoint).embed(np.zeros((30, 40, 3), np.uint8)).predict(points=[(5, 5)])
    assert found.masks.shape == (3, 30, 40)
    with pytest.raises(ModelError, match="no such file"):
        mobilesam.load(tmp_path / "none.pt")


@pytest.mark.parametrize("model", [None, 5, ["a"]])
def test_a_model_that_is_neither_a_name_nor_a_path_is_refused(model: object) -> None:
    with pytest.raises(ModelError, match="a model is a name or a path"):
        mobilesam.load(model)
