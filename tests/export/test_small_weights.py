"""Weights in few levels: packing, unpacking in the graph, and what is chosen."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mobilesam import load
from mobilesam.choices import StoredPrecision
from mobilesam.export import small_weights
from mobilesam.export.agreement import example_photos
from mobilesam.export.draft import Check
from mobilesam.export.onnx import export_pair
from mobilesam.model import checkpoint
from mobilesam.outputs import JOURNAL
from mobilesam.weights import find_checkpoint


@pytest.mark.parametrize("levels", [15, 63, 255])
def test_the_graph_gives_back_every_level_exactly(levels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(7, n, generator=generator) for name, n in (("a", 211), ("b", 5))}
    stored = {name: small_weights.to_levels(weight, levels) for name, weight in weights.items()}
    assert max(np.abs(stored["a"].codes).max(), 0) == (levels - 1) // 2
    model = model_of({name: level.values for name, level in stored.items()})
    small_weights.store(model, stored)
    small_weights.shorten(model)
    onnx.checker.check_model(model)
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"zero": np.zeros(1, np.float32)})
    for array, level in zip(found, stored.values(), strict=True):
        np.testing.assert_array_equal(array, level.values)


@pytest.mark.parametrize(("levels", "bits"), [(15, 4), (63, 6)])
def test_packed_weights_take_few_bits(levels: int, bits: int) -> None:
    half = (levels - 1) // 2
    codes = np.tile(np.arange(-half, half + 1, dtype=np.int16), 4)
    packed = small_weights.pack(codes, levels)
    assert packed.nbytes == len(codes) * bits / 8


def test_small_weights_are_stored_together_and_come_back_with_their_shapes() -> None:
    weights = {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 3
        for name, shape in (("a", (3, 2)), ("unused", (5,)), ("b", (4,)))
    }
    model = model_of({name: weights[name] for name in "ab"})
    small_weights.store_together(model, weights)
    small_weights.shorten(model)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node].count("Cast") == 1
    stored = {tuple(i.dims) for i in model.graph.initializer if i.data_type == TensorProto.FLOAT16}
    assert stored == {(15,)}  # the unused too, so that two graphs hold the same bytes
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"zero": np.zeros(1, np.float32)})
    for array, name in zip(found, "ab", strict=True):
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.torch
def test_a_file_of_few_levels_is_opened_without_looking_up_each_weight() -> None:
    # A Gather for each word took most of the time of a cold click.
    stored = {"a": small_weights.to_levels(torch.randn(8, 8), 63), "b": small_weights.to_levels(torch.randn(8, 8), 15)}
    model = model_of({name: level.values for name, level in stored.items()})
    small_weights.store(model, stored)
    assert not {node.op_type for node in model.graph.node} & {
        "Gather",
        "GatherElements",
        "GatherND",
        "DequantizeLinear",
    }


@pytest.mark.parametrize("levels", [15, 63])
def test_openvino_unpacks_the_same_weights(levels: int) -> None:
    openvino = pytest.importorskip("openvino")
    stored = {"a": small_weights.to_levels(torch.randn(7, 13, generator=torch.Generator().manual_seed(0)), levels)}
    model = model_of({name: level.values for name, level in stored.items()})
    small_weights.store(model, stored)
    compiled = openvino.Core().compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU")
    np.testing.assert_array_equal(compiled([np.zeros(1, np.float32)])[0], stored["a"].values)


def test_a_clipped_scale_is_taken_where_one_large_weight_would_spoil_the_others() -> None:
    weight = torch.cat([torch.randn(1, 999) * 0.1, torch.ones(1, 1)], dim=1)
    error = (torch.from_numpy(small_weights.to_levels(weight, 15).values) - weight).square().sum()
    plain = ((weight * 7).round() / 7 - weight).square().sum()
    assert error < 0.8 * plain


def test_weights_that_cost_most_masks_keep_most_levels() -> None:
    sam = checkpoint.load(find_checkpoint("embedded"))
    sizes = {name: weight.numel() for name, weight in sam.state_dict().items()}
    mixed, plain = (small_weights.plan(sam, precision) for precision in ("mixed", "int8-weights"))
    assert set(plain.values()) == {255}
    assert set(plain) == set(mixed)
    first = [name for name in sizes if re.match(r"image_encoder\.(stem|stages\.[012])\.", name)]
    assert first
    assert not set(first) & set(mixed), "the first layers stay in float16"
    encoder = {levels for name, levels in mixed.items() if name.startswith("image_encoder")}
    feed_forward = {levels for name, levels in mixed.items() if name.startswith("mask_decoder") and ".mlp." in name}
    assert (encoder, feed_forward) == ({63, 255}, {15})
    bits = {255: 8, 63: 6, 15: 4}
    assert sum(sizes[name] * (bits[mixed[name]] if name in mixed else 16) for name in sizes) / 8e6 < 5.91


def test_names_become_short() -> None:
    model = model_of({"a_long_name_of_a_weight": np.ones(3, np.float32)})
    small_weights.shorten(model)
    onnx.checker.check_model(model)
    assert len(model.graph.initializer[0].name) < 4
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"zero": np.zeros(1, np.float32)})
    np.testing.assert_array_equal(found[0], np.ones(3))


@pytest.mark.parametrize("levels", [15, 63, 255])
def test_scales_are_float16_numbers_in_the_file(levels: int) -> None:
    weight = torch.randn(64, 40, generator=torch.Generator().manual_seed(0)) * torch.logspace(-9, 0, 64)[:, None]
    stored = small_weights.to_levels(weight, levels)
    scale = stored.scale / small_weights.unit(levels)
    np.testing.assert_array_equal(scale, scale.astype(np.float16).astype(np.float32))
    assert np.isfinite(stored.values).all()


@pytest.mark.torch
@pytest.mark.parametrize("precision", ["mixed", "int8-weights"])
def test_an_export_computes_what_its_rounded_network_computes(
    precision: StoredPrecision, tiny_lite_checkpoint: Path, tmp_path: Path
) -> None:
    sam = checkpoint.load(tiny_lite_checkpoint)
    export_pair(sam, tmp_path, licence="x", precision=precision, check=Check(force=True))
    assert max(json.loads((tmp_path / "model.json").read_text())["verified"].values()) < 2e-5


@pytest.mark.torch
@pytest.mark.parametrize("precision", ["mixed", "int8-weights"])
def test_openvino_computes_with_the_same_weights_inside_a_decoder(
    precision: StoredPrecision, tiny_lite_checkpoint: Path, tmp_path: Path
) -> None:
    # By themselves the operators unpack exactly everywhere; inside a decoder the plugin took them for int8 layers.
    pytest.importorskip("openvino")
    sam = checkpoint.load(tiny_lite_checkpoint)
    export_pair(sam, tmp_path, licence="x", precision=precision, check=Check(force=True))
    photo = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    answers = [
        load(tmp_path, backend=backend).embed(photo).predict(points=[(40, 50), (90, 20)], zoom=False)
        for backend in ("onnx", "openvino")
    ]
    wanted, found = (answer.low_res for answer in answers)
    assert np.abs(found - wanted).max() <= 2e-5 * np.abs(wanted).max()


@pytest.mark.torch
def test_the_files_of_the_embedded_pair_in_mixed_storage_take_six_megabytes_at_most(tmp_path: Path) -> None:
    sam = checkpoint.load(find_checkpoint("embedded"))
    export_pair(sam, tmp_path, licence="Apache-2.0", precision="mixed", check=Check(example_photos()[:1]))
    files = [path for path in tmp_path.iterdir() if path.name != JOURNAL]
    assert {path.name for path in files} == {"encoder.onnx", "decoder.onnx", "decoder_many.onnx", "model.json"}
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    assert json.loads((tmp_path / "model.json").read_text())["masks"]["iou"] >= 0.98


def model_of(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A graph that gives its weights back, plus an input of zero."""
    nodes = [helper.make_node("Add", [name, "zero"], [f"{name}_out"]) for name in weights]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("zero", TensorProto.FLOAT, [1])],
        [
            helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, array.shape)
            for name, array in weights.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
