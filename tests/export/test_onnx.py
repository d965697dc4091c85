from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import mobilesam
from mobilesam import contract, weights
from mobilesam.errors import ExportError
from mobilesam.export import draft, tracing, verify
from mobilesam.export import onnx as exporting
from mobilesam.export.formats import export_as
from mobilesam.export.sam_decoder import SAM_DECODER_FILE
from mobilesam.model import checkpoint
from mobilesam.model.backend import describe
from mobilesam.model.sam import Sam
from tests.helpers.closeness import assert_same_function, assert_same_masks


@pytest.fixture
def sam(tiny_checkpoint: Path) -> Sam:
    return checkpoint.load(tiny_checkpoint)


def names(path: Path) -> tuple[list[str], list[str]]:
    session = ort.InferenceSession(str(path))
    return [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]


def test_the_pair_has_the_contracts_names_and_metadata(tiny_pair: Path) -> None:
    assert names(tiny_pair / "encoder.onnx") == ([contract.ENCODER_INPUT], [contract.ENCODER_OUTPUT])
    inputs = [*contract.DECODER_INPUTS, contract.DECODER_MIN_SCORE]
    assert names(tiny_pair / "decoder.onnx") == (inputs, list(contract.DECODER_OUTPUTS))
    for file in ("encoder.onnx", "decoder.onnx", "decoder_many.onnx"):
        metadata = {p.key: p.value for p in onnx.load(tiny_pair / file, load_external_data=False).metadata_props}
        assert set(contract.METADATA_KEYS) <= set(metadata)
        assert metadata["image_size"] == "64"
        assert metadata["licence"] == "Apache-2.0"
        assert json.loads(metadata["pixel_mean"]) == list(contract.PIXEL_MEAN)
        assert json.loads(metadata["pixel_std"]) == list(contract.PIXEL_STD)
        assert (metadata["normalisation"], metadata["num_points"]) == ("inside", "any")
    card = json.loads((tiny_pair / "model.json").read_text())
    assert {key: str(card[key]) for key in contract.INPUT_KEYS} == {key: metadata[key] for key in contract.INPUT_KEYS}
    assert card["weights_sha256"] == metadata["weights_sha256"]
    assert max(card["verified"].values()) < verify.TOLERANCE
    files = sorted(p.name for p in tiny_pair.iterdir())
    assert files == ["decoder.onnx", "decoder_many.onnx", "encoder.onnx", "model.json"]


def test_the_decoder_for_many_prompts_holds_no_weights_of_its_own(tiny_pair: Path) -> None:
    inputs, outputs = names(tiny_pair / "decoder_many.onnx")
    assert (inputs, outputs) == (list(contract.MANY_INPUTS), list(contract.DECODER_OUTPUTS))
    graph = onnx.load(tiny_pair / "decoder_many.onnx", load_external_data=False).graph
    outside = [weight for weight in graph.initializer if weight.data_location == onnx.TensorProto.EXTERNAL]
    assert len(outside) > 30
    assert {entry.value for w in outside for entry in w.external_data if entry.key == "location"} == {"decoder.onnx"}
    assert sum(len(weight.raw_data) for weight in graph.initializer) < 100_000


def test_the_pair_answers_as_torch_does(tiny_pair: Path, tiny_checkpoint: Path, coffee: Path) -> None:
    onnx_image = mobilesam.load(tiny_pair).embed(coffee)
    torch_image = mobilesam.load(tiny_checkpoint).embed(coffee)
    assert_same_function(onnx_image.array, torch_image.array)
    for points in ([(300, 180)], [(10, 10), (590, 390), (300, 20)]):
        a, b = onnx_image.predict(points=points), torch_image.predict(points=points)
        assert_same_function(a.low_res, b.low_res)
        assert_same_masks(a.masks, b.masks)


def test_a_batch_of_photos_goes_through_the_encoder(tiny_pair: Path, sam: Sam) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (3, 3, 64, 37)).astype(np.float32)
    found = ort.InferenceSession(str(tiny_pair / "encoder.onnx")).run(None, {"image": images})[0]
    with torch.inference_mode():
        assert_same_function(found, sam.encode(torch.from_numpy(images)))


def test_a_graph_that_computes_something_else_is_refused(
    sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tampered(*args: object) -> onnx.ModelProto:
        model = trace(*args)
        for initializer in model.graph.initializer:
            if initializer.name == "image_encoder.neck.3.bias":
                shifted = onnx.numpy_helper.to_array(initializer) + 0.1
                initializer.CopyFrom(onnx.numpy_helper.from_array(shifted, initializer.name))
        return model

    trace = exporting.trace
    monkeypatch.setattr(exporting, "trace", tampered)
    with pytest.raises(ExportError, match="embedding: onnxruntime and torch differ"):
        exporting.export_pair(sam, tmp_path / "out", licence="x")
    assert not any((tmp_path / "out").iterdir())


def test_compare_refuses_nan_and_other_shapes() -> None:
    one = np.ones((2, 2), np.float32)
    assert verify.compare("x", one, one) == 0
    with pytest.raises(ExportError, match="differ"):
        verify.compare("x", one * np.nan, one)
    with pytest.raises(ExportError, match=r"\(2, 1\)"):
        verify.compare("x", one[:, :1], one)


def test_fp16_storage_halves_the_file_and_barely_moves_the_masks(
    sam: Sam, tiny_pair: Path, tmp_path: Path, coffee: Path
) -> None:
    exporting.export_pair(sam, tmp_path, licence="x", precision="float16")
    for weight in onnx.load(tmp_path / "decoder.onnx").graph.initializer:
        is_large = math.prod(weight.dims) >= tracing.HALVED_FROM
        assert weight.data_type == (onnx.TensorProto.FLOAT16 if is_large else onnx.TensorProto.FLOAT), weight.name
    half, full = (mobilesam.load(f).embed(coffee).predict(points=[(300, 180)]) for f in (tmp_path, tiny_pair))
    np.testing.assert_allclose(half.low_res, full.low_res, atol=0.05)
    recovered = checkpoint.load(tmp_path)
    assert mobilesam.load(tmp_path).info.weights_sha256 == describe(recovered, "x").weights_sha256


def test_a_weight_beyond_float16_is_refused(sam: Sam, tmp_path: Path) -> None:
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight[0, 0] = 1e6
    with pytest.raises(ExportError, match="iou_token"):
        exporting.export_pair(sam, tmp_path, licence="x", precision="float16")


def test_the_sam_layout_has_the_official_signature_and_masks_at_the_photos_size(sam: Sam, tmp_path: Path) -> None:
    export_as(sam, tmp_path, "sam", licence="x")
    path = tmp_path / SAM_DECODER_FILE
    inputs, outputs = names(path)
    official = ["image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size"]
    assert inputs == official
    assert outputs == ["masks", "iou_predictions", "low_res_masks"]
    feed = {
        "image_embeddings": np.random.default_rng(0).standard_normal((1, 32, 4, 4)).astype(np.float32),
        "point_coords": np.array([[[20, 12], [0, 0]]], np.float32),
        "point_labels": np.array([[1, -1]], np.float32),
        "mask_input": np.zeros((1, 1, 16, 16), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.array([123, 77], np.float32),
    }
    masks, scores, low_res = ort.InferenceSession(str(path)).run(None, feed)
    assert masks.shape == (1, 4, 123, 77)
    assert scores.shape == (1, 4)
    expected = mobilesam.masks.upscale(low_res[0, 2], 64, (64, 40), (123, 77))
    assert_same_function(masks[0, 2], expected)


def test_weights_too_large_for_one_file_go_beside_the_graph(
    sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coffee: Path
) -> None:
    monkeypatch.setattr(tracing, "PROTOBUF_LIMIT", 1000)
    exporting.export_pair(sam, tmp_path, licence="x")
    assert (tmp_path / "encoder.onnx.data").stat().st_size > 10_000
    assert mobilesam.load(tmp_path).embed(coffee).predict(points=[(9, 9)]).masks.shape == (3, 400, 600)
    assert checkpoint.load(tmp_path).config == sam.config


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    run, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "encoder.onnx").write_bytes(b"mine")
    code, _, err = run("export", tiny_checkpoint, "-o", "out")
    assert (code, "encoder.onnx" in err) == (1, True)
    assert [p.name for p in out.iterdir()] == ["encoder.onnx"]
    assert run("export", tiny_checkpoint, "-o", "out", "--overwrite")[0] == 0
    assert sorted(p.name for p in out.iterdir()) == ["decoder.onnx", "decoder_many.onnx", "encoder.onnx", "model.json"]
    code, _, err = run("export", "out", "-o", "out", "--overwrite")
    assert (code, "would overwrite the input" in err) == (1, True)

    def die(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(draft.os, "replace", die)  # as killed before the first file is moved
    assert run("export", tiny_checkpoint, "-o", "out")[0] == 130
    assert not weights.has_pair(out), "the pair of two exports is not called complete"
