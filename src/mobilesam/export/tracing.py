"""Tracing of the network's parts to ONNX graphs, and their files."""

from __future__ import annotations

import hashlib
import math
import tempfile
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mobilesam import contract
from mobilesam.export.graphs import DecoderGraph, EncoderGraph, ManyDecoderGraph, SamDecoderGraph
from mobilesam.model.sam import Sam

OPSET = 17  # the first with LayerNormalization; read by onnxruntime 1.12 and later
SHARED_FROM = 1024  # bytes; smaller weights are kept in each graph
HALVED_FROM = 4096  # elements; the Cast of a smaller weight costs more time at opening than reading twice the bytes
PROTOBUF_LIMIT = 1_900_000_000  # bytes; a file of 2 GiB cannot be parsed


@dataclass(frozen=True)
class Graph:
    """A graph to export: module, example inputs, output names and dynamic axes."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]]


def encoder_graph(sam: Sam) -> Graph:
    """The encoder graph with dynamic batch and photo size."""
    size = sam.config.image_size
    return Graph(
        EncoderGraph(sam),
        {contract.ENCODER_INPUT: torch.rand(1, 3, size // 2, size) * 255},
        (contract.ENCODER_OUTPUT,),
        {contract.ENCODER_INPUT: {0: "B", 2: "H", 3: "W"}, contract.ENCODER_OUTPUT: {0: "B"}},
    )


def decoder_graph(sam: Sam) -> Graph:
    """The decoder graph with dynamic numbers of prompts and points, and a dynamic grid where the encoder has one."""
    grid = sam.config.grid
    inputs = (
        torch.rand(1, sam.config.embed_dim, grid, grid),
        torch.rand(2, 3, 2) * sam.config.image_size,
        torch.tensor([[1.0, 0.0, -1.0], [1.0, 2.0, 3.0]]),
        torch.rand(2, 1, 4 * grid, 4 * grid),
        torch.tensor([0.0, 1.0]),
    )
    dynamic: dict[str, dict[int, str]] = {
        "embedding": {0: "E"},
        "point_coords": {0: "N", 1: "P"},
        "point_labels": {0: "N", 1: "P"},
        "mask_input": {0: "M"},
        "has_mask_input": {0: "M"},
        "low_res_masks": {0: "S"},
        "iou_predictions": {0: "N"},
    }
    if sam.config.sides:  # a client that knows the side may fix these two names, and lose nothing to a fixed graph
        dynamic["embedding"] |= {2: contract.GRID, 3: contract.GRID}
        for name in ("mask_input", "low_res_masks"):
            dynamic[name] |= {2: contract.LOW_RES, 3: contract.LOW_RES}
    named = dict(zip(contract.DECODER_INPUTS, inputs, strict=True)) | {contract.DECODER_MIN_SCORE: torch.tensor(0.0)}
    return Graph(DecoderGraph(sam), named, contract.DECODER_OUTPUTS, dynamic)


def many_graph(sam: Sam) -> Graph:
    """The graph of the decoder for many prompts: `decoder_graph` without mask inputs."""
    graph = decoder_graph(sam)
    inputs = {name: graph.inputs[name] for name in contract.MANY_INPUTS}
    known = {*inputs, *graph.outputs}
    dynamic = {name: sides for name, sides in graph.dynamic.items() if name in known}
    dynamic["embedding"] = {axis: name for axis, name in dynamic["embedding"].items() if axis}  # of one photo
    return Graph(ManyDecoderGraph(sam), inputs, graph.outputs, dynamic)


def sam_decoder_graph(sam: Sam) -> Graph:
    """The decoder graph in SAM's official layout: one prompt, any number of points, any photo size."""
    grid, size = sam.config.grid, sam.config.image_size
    inputs = {
        "image_embeddings": torch.rand(1, sam.config.embed_dim, grid, grid),
        "point_coords": torch.rand(1, 3, 2) * size,
        "point_labels": torch.tensor([[1.0, 0.0, -1.0]]),
        "mask_input": torch.rand(1, 1, 4 * grid, 4 * grid),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([size * 0.75, size * 1.5]).round(),
    }
    dynamic = {
        "point_coords": {1: "num_points"},
        "point_labels": {1: "num_points"},
        "masks": {2: "height", 3: "width"},
    }
    return Graph(SamDecoderGraph(sam), inputs, ("masks", "iou_predictions", "low_res_masks"), dynamic)


def trace(graph: Graph, scratch: Path) -> onnx.ModelProto:
    """Trace one graph without constant folding, so that every weight keeps its name and value."""
    options: dict[str, Any] = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    # A folder of its own, because weights over 2 GB come as one file per tensor.
    with tempfile.TemporaryDirectory(dir=scratch) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python number that it fixes
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.dynamic,
            **options,
        )
        model = onnx.load(path)
    share_constants(model)
    return model


def share_constants(model: onnx.ModelProto) -> None:
    """Keep equal constants inside a graph once: they are a quarter of a decoder's nodes, and slow down its opening."""
    kept: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    outputs = {output.name for output in model.graph.output}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] not in outputs:
            name = kept.setdefault(node.attribute[0].SerializeToString(), node.output[0])
            if name != node.output[0]:
                renamed[node.output[0]] = name
                continue
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Save and check a graph; weights beyond protobuf's 2 GB go into a file beside it (ViT-H in float32)."""
    size = sum(len(initializer.raw_data) for initializer in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=size > PROTOBUF_LIMIT, location=path.name + ".data")
    onnx.checker.check_model(str(path))


def share_weights(model: onnx.ModelProto, holder: Path) -> str:
    """Replace a graph's weights by references into the bytes of another file, and return that file's sha256."""
    content = holder.read_bytes()
    for weight in model.graph.initializer:
        start = content.find(weight.raw_data) if len(weight.raw_data) >= SHARED_FROM else -1
        if start < 0:
            continue
        place = {"location": holder.name, "offset": start, "length": len(weight.raw_data)}
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in place.items())
    return hashlib.sha256(content).hexdigest()


def store_as_fp16(model: onnx.ModelProto, only: Collection[str] | None = None, *, smallest: int = HALVED_FROM) -> None:
    """Replace float32 weights by float16 ones and a Cast, which runtimes fold.

    Args:
        model: changed in place.
        only: names of the weights; all when None.
        smallest: weights of fewer elements stay in float32.
    """
    casts = []
    renamed = {}
    for initializer in model.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        if only is not None and initializer.name not in only:
            continue
        if math.prod(initializer.dims) < smallest:
            continue
        array = numpy_helper.to_array(initializer).astype(np.float16)
        renamed[initializer.name] = initializer.name + ":float32"
        casts.append(helper.make_node("Cast", [initializer.name], [renamed[initializer.name]], to=TensorProto.FLOAT))
        initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
