"""Weights in few levels: packing, unpacking in the graph, and what is chosen."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mobilesam.export import small_weights
from mobilesam.model import checkpoint
from mobilesam.weights import find_checkpoint


@pytest.mark.parametrize("levels", [15, 39, 63, 255])
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


@pytest.mark.parametrize(("levels", "bits"), [(15, 4), (39, 16 / 3), (63, 6)])
def test_packed_weights_take_few_bits(levels: int, bits: float) -> None:
    half = (levels - 1) // 2
    codes = np.tile(np.arange(-half, half + 1, dtype=np.int16), 12)
    packed = small_weights.pack(codes, levels)
    assert sum(words.nbytes for words in packed) == len(codes) * bits / 8
    assert [words.max() for words in small_weights.pack(np.full(12, half, np.int16), levels)] == {
        15: [15**2 - 1],
        39: [39**3 - 1],
        63: [14 + 16 * 14, 3 + 4 * 3 + 16 * 3 + 64 * 3],
    }[levels]


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
    bits = {255: 8, 63: 6, 39: 16 / 3, 15: 4}
    assert sum(sizes[name] * (bits[mixed[name]] if name in mixed else 16) for name in sizes) / 8e6 < 5.9


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
