"""Export to LiteRT (TensorFlow Lite): encoder.tflite and decoder.tflite. Needs the extra `litert`.

"float16" stores weights in half the size; "int8-weights" in a quarter, and computes in float32; "int8" computes
products with int8 weights in int8 too, with scales found at each inference. In both, small weights, such as those of
the encoder's first layers, stay in float16, as `small_weights` says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mobilesam.choices import StoredPrecision
from mobilesam.export.draft import Draft
from mobilesam.export.fixed_pair import FixedGraph, Runtime, write_fixed
from mobilesam.export.small_weights import few
from mobilesam.predict.backend import Backend

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
"""Whose weights the quantiser can cast to float16."""
IDENTIFIER = b"TFL3"
"""Of the file format, in its head."""


class Named(nn.Module):
    """A graph that gives its outputs by name, as the file's signature then does."""

    def __init__(self, graph: FixedGraph) -> None:
        super().__init__()
        self.module, self.names = graph.module, graph.outputs

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Inputs and outputs by name."""
        answer = self.module(*inputs.values())
        return dict(zip(self.names, (answer,) if isinstance(answer, Tensor) else answer, strict=True))


def convert(graph: FixedGraph, path: Path, metadata: dict[str, str], precision: StoredPrecision) -> None:
    """Write a graph as a .tflite file."""
    import litert_torch

    content = litert_torch.convert(Named(graph).eval(), sample_kwargs=graph.inputs)
    content.export(str(path))
    if precision != "float32":
        quantise(path, precision, graph.name)
    add_metadata(path, metadata)


def quantise(path: Path, precision: StoredPrecision, graph: str) -> None:
    """Replace the weights of a file by ones of fewer bits.

    Args:
        path: of the file, which is replaced.
        precision: "float16", or one of int8.
        graph: "encoder" or "decoder", which decides from which size on layers are stored in int8.
    """
    from ai_edge_quantizer import quantizer, recipe

    tool = quantizer.Quantizer(str(path))
    in_halves = [".*"]
    if precision != "float16":
        tool.load_quantization_recipe(
            recipe.dynamic_wi8_afp32() if precision == "int8" else recipe.weight_only_wi8_afp32()
        )
        in_halves = [f"^{re.escape(layer)}$" for layer in small_layers(path, graph)]
    casting = quantizer.algorithm_manager.AlgorithmName.FLOAT_CASTING
    everything = quantizer.qtyping.TFLOperationName.ALL_SUPPORTED
    for pattern in in_halves:
        tool.add_weight_only_config(pattern, everything, num_bits=16, algorithm_key=casting)
    path.write_bytes(tool.quantize().quantized_model)


def small_layers(path: Path, graph: str) -> Iterator[str]:
    """The names by which the quantiser knows those layers of a file that are too small to be stored in int8."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope, read_model

    least = {getattr(schema.BuiltinOperator, name): few(graph, depthwise="DEPTHWISE" in name) for name in LAYERS}
    model: Any = read_model(str(path))
    for part in model.subgraphs:
        for step in part.operators:
            code = model.operatorCodes[step.opcodeIndex].builtinCode
            tensors = [part.tensors[i] for i in step.inputs if i >= 0]
            stored = [one for one in tensors if model.buffers[one.buffer].data is not None]
            if stored and max(math.prod(one.shape) for one in stored) < least.get(code, 0):
                yield get_op_scope(step, part.tensors)


def add_metadata(path: Path, metadata: dict[str, str]) -> None:
    """Add entries to a .tflite file that every reader of the format finds under `Model.metadata`."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        """Starts every vector at a multiple of 16 bytes, as the format asks for weights; the Python classes do not."""

        def StartVector(self, size: int, count: int, alignment: int) -> int:  # noqa: N802
            return int(super().StartVector(size, count, max(alignment, 16)))

    content = path.read_bytes()
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    for buffer in model.buffers:
        if buffer.offset > 1:  # the quantiser puts large weights behind the tables, and counts from the file's start
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    model.metadata = list(model.metadata or [])
    for key, value in metadata.items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = key, len(model.buffers)
        buffer.data = np.frombuffer(value.encode(), np.uint8)
        model.metadata.append(entry)
        model.buffers.append(buffer)
    builder = Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    path.write_bytes(builder.Output())


def open_backend(folder: Path) -> Backend:
    """The files in LiteRT."""
    from mobilesam.predict.litert import LiteRtBackend

    return LiteRtBackend(folder)


RUNTIME = Runtime("LiteRT", ".tflite", convert, open_backend)
FILES = RUNTIME.files


def write_files(draft: Draft) -> None:
    """Write encoder.tflite and decoder.tflite into a draft, and compare them with torch in LiteRT itself.

    Raises:
        ExportError: LiteRT and torch disagree.
    """
    write_fixed(draft, RUNTIME)
