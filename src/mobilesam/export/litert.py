"""Export to LiteRT (TensorFlow Lite): encoder.tflite and decoder.tflite. Needs the extra `litert`.

"float16" stores weights in half the size; "int8-weights" in a quarter, and computes in float32; "int8" computes
products with int8 weights in int8 too, with scales found at each inference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mobilesam.choices import StoredPrecision
from mobilesam.export.draft import Draft
from mobilesam.export.fixed_pair import FixedGraph, Runtime, write_fixed
from mobilesam.predict.backend import Backend

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
        quantise(path, precision)
    add_metadata(path, metadata)


def quantise(path: Path, precision: StoredPrecision) -> None:
    """Replace the weights of a file by ones of fewer bits."""
    from ai_edge_quantizer import quantizer, recipe

    tool = quantizer.Quantizer(str(path))
    if precision == "int8":
        tool.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    elif precision == "int8-weights":
        tool.load_quantization_recipe(recipe.weight_only_wi8_afp32())
    else:
        names = quantizer.algorithm_manager.AlgorithmName
        everything = quantizer.qtyping.TFLOperationName.ALL_SUPPORTED
        tool.add_weight_only_config(".*", everything, num_bits=16, algorithm_key=names.FLOAT_CASTING)
    path.write_bytes(tool.quantize().quantized_model)


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
