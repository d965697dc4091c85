"""Pairs that compute in int8: a convolutional encoder statically, on photos, and everything else dynamically.

Static: inputs of the convolutions are rounded to ranges seen on a few photos. Dynamic: inputs of the products with
weights are rounded to the range that each call has. The files hold batch norms folded and weights in int8, so such a
pair is no checkpoint. The decoder for many prompts is left out: it could not share these weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from mobilesam import contract
from mobilesam.export.draft import Draft
from mobilesam.export.tracing import store_as_fp16, write
from mobilesam.image import open_photo, to_input
from mobilesam.model.efficientnet_lite import EfficientNetLite
from mobilesam.predict.backend import Floats
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import onnxruntime as ort
    from onnxruntime import quantization as q

PHOTOS = 32
"""At most so many photos are calibrated on; they are run one at a time, since a batch at 1024 px takes 2 GB a photo."""
SMALLER = {"reduce_range": True}
"""Weights of 7 bits: x86 without VNNI adds two products in 16 bits, where those of 8-bit weights overflow."""
WIDE = 8
"""Convolutions of fewer input channels a group, the stem and depthwise ones, lose much in int8 and gain nothing."""


class Photos(q.CalibrationDataReader):  # type: ignore[misc]
    """Gives photos to onnxruntime's calibration, one at a time."""

    def __init__(self, photos: list[Path], image_size: int) -> None:
        self._feeds = iter(self._inputs(photos[:PHOTOS], image_size))

    @staticmethod
    def _inputs(photos: list[Path], image_size: int) -> Iterator[dict[str, Floats]]:
        for photo in photos:
            yield {contract.ENCODER_INPUT: to_input(open_photo(photo), image_size)}

    def get_next(self) -> dict[str, Floats] | None:
        """The next photo, None after the last."""
        return next(self._feeds, None)


def quantise_encoder(draft: Draft, path: Path, scratch: Path) -> None:
    """Replace the encoder at `path`, whose batch norms are folded, by one that computes in int8."""
    if not isinstance(draft.sam.image_encoder, EfficientNetLite):
        quantise_products(path, scratch)
        return
    graph = fold_constants(path, scratch)
    with _quiet():
        q.quantize_static(
            str(graph),
            str(path),
            Photos(draft.photos, draft.sam.config.image_size),
            quant_format=q.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=wide_convolutions(onnx.load(graph)),
            per_channel=True,
            activation_type=q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            **SMALLER,
        )


def quantise_products(path: Path, scratch: Path) -> None:
    """Replace the graph at `path` by one whose products with weights compute in int8, with ranges made in each call."""
    graph = fold_constants(path, scratch)
    model = onnx.load(graph)
    weights = {initializer.name for initializer in model.graph.initializer if len(initializer.dims) == 2}
    nodes = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    with _quiet():
        q.quantize_dynamic(
            str(graph),
            str(path),
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=nodes or ["none"],  # an empty list would mean all
            per_channel=True,
            weight_type=q.QuantType.QInt8,
            **SMALLER,
        )


def fold_constants(path: Path, scratch: Path) -> Path:
    """Write a graph with its constants computed, as onnxruntime's basic optimisation leaves it; shapes stay dynamic."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    folded = scratch / f"folded_{path.name}"  # in a folder of its own: `quantize_static` writes beside its input
    options.optimized_model_filepath = str(folded)
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(folded)
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"
    onnx.save(model, folded)
    return folded


def wide_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions that int8 makes faster."""
    shapes = {initializer.name: tuple(initializer.dims) for initializer in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    return [node.name for node in nodes if shapes.get(node.input[1], (0, 0))[1] >= WIDE]


def finish(path: Path, metadata: dict[str, str]) -> None:
    """Store what is still float32 in float16, and write the contract's metadata."""
    model = onnx.load(path)
    halve = {i.name for i in model.graph.initializer if i.data_type == TensorProto.FLOAT and np.prod(i.dims) >= 1024}
    store_as_fp16(model, halve, smallest=0)
    helper.set_model_props(model, metadata)
    write(model, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the advice that onnxruntime's quantiser logs, on how to prepare a model."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
