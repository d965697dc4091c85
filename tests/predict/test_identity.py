"""What tells two files of one model apart, and what computes them."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

import mobilesam
from mobilesam.extras import is_installed
from mobilesam.predict import identity
from mobilesam.predict.identity import numbers_stored, runtime_of
from tests.helpers.stored import opened, relabelled


@pytest.mark.parametrize(("form", "precision"), [("onnx", "float32"), ("hub", "float16"), ("ort", "float32")])
def test_weights_that_the_hash_identifies_need_no_more(form: str, precision: str, tmp_path: Path) -> None:
    assert numbers_stored(opened(tmp_path / "model", precision, form).backend) == {}


def test_the_embedded_model_is_identified_by_its_weights(embedded: mobilesam.Predictor) -> None:
    assert numbers_stored(embedded.backend) == {}, "or runs that were begun before would not go on"


@pytest.mark.parametrize(("form", "precision"), [("onnx", "int8"), ("onnx", "mixed"), ("ort", "float16")])
def test_coarser_files_are_told_apart(form: str, precision: str, tmp_path: Path) -> None:
    sam = opened(tmp_path / "model", precision, form)
    stored = numbers_stored(sam.backend)
    assert (stored["format"], stored["precision"]) == (form, precision)
    card_file = tmp_path / "model" / "model.json"
    card = json.loads(card_file.read_text())
    card["sha256"]["encoder.onnx"] = "0" * 64
    card_file.write_text(json.dumps(card))
    assert numbers_stored(sam.backend)["files"] != stored["files"], "calibrated on other photos"


def test_the_runtime_names_what_computes(embedded: mobilesam.Predictor, tmp_path: Path) -> None:
    found = runtime_of(embedded.backend)
    assert (found.backend, found.precision, found.stored) == ("onnx", "float32", "onnx float16")
    assert found.versions == {"onnxruntime": version("onnxruntime")}


@pytest.mark.skipif(not is_installed("openvino"), reason="needs the extra openvino")
def test_auto_is_named_by_what_it_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("mobilesam.predict.openvino.has_bfloat16", lambda: True)
    sam = mobilesam.load(relabelled(tmp_path / "model", "int8"), precision="bfloat16", image_size=256)
    found = runtime_of(sam.backend)
    assert (found.backend, found.precision, found.stored) == ("openvino", "bfloat16", "onnx int8")
    assert found.versions == {"openvino": version("openvino")}


def test_a_runtime_without_a_package_of_its_own_has_no_version(
    embedded: mobilesam.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(identity._PACKAGES, "onnx", ("no-such-package",))
    assert runtime_of(embedded.backend).versions == {}


def test_an_embedding_stays_usable_for_files_of_another_precision(
    coffee_embedding: mobilesam.ImageEmbedding, tmp_path: Path
) -> None:
    coffee_embedding.save(tmp_path / "coffee.npz")
    coarse = opened(tmp_path / "model", "int8")
    assert coarse.load_embedding(tmp_path / "coffee.npz").array.shape == coffee_embedding.array.shape


@pytest.mark.torch
def test_a_checkpoint_is_stored_as_its_hash_says(tiny_checkpoint: Path) -> None:
    backend = mobilesam.load(tiny_checkpoint).backend
    assert numbers_stored(backend) == {}
    assert (runtime_of(backend).backend, runtime_of(backend).stored) == ("torch", "")
