"""Export to ExecuTorch: encoder.pte and decoder.pte for its XNNPACK backend. Needs the extra `executorch`.

"float16" stores and computes all but positions in float16; "int8" computes layers in int8, with scales found at each
inference, but for those that `small_weights` says are too small.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from mobilesam.choices import StoredPrecision
from mobilesam.export.draft import Draft
from mobilesam.export.fixed_pair import FixedGraph, Runtime, write_fixed
from mobilesam.export.small_weights import few, is_depthwise
from mobilesam.predict.backend import Backend


def convert(graph: FixedGraph, path: Path, metadata: dict[str, str], precision: StoredPrecision) -> None:
    """Write a graph as a .pte file; each entry of the metadata is a method of that name that returns it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower

    inputs = tuple(graph.inputs.values())
    module: nn.Module = graph.module
    partitioners = [XnnpackPartitioner()]
    if precision == "int8":
        module = with_int8_products(graph, inputs)
        partitioners = [XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()]  # in one, they make a cycle
    lowered = to_edge_transform_and_lower(
        torch.export.export(module, inputs), partitioner=partitioners, constant_methods=dict(metadata)
    )
    with path.open("wb") as file:
        lowered.to_executorch().write_to_file(file)


def with_int8_products(graph: FixedGraph, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Quantise the larger layers of a graph: weights now, per channel, and their inputs at each inference."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    quantizer.set_filter_function(partial(is_large, graph.name))
    prepared = prepare_pt2e(torch.export.export(graph.module, inputs).module(), quantizer)
    prepared(*inputs)
    converted: nn.Module = convert_pt2e(prepared)
    return converted


def is_large(graph: str, step: fx.Node) -> bool:
    """Whether a step of the "encoder" or the "decoder" has no weight, or one that is large enough for int8."""
    weights = [arg.meta["val"] for arg in step.args if isinstance(arg, fx.Node) and arg.op == "get_attr"]
    return all(weight.numel() >= few(graph, depthwise=is_depthwise(weight)) for weight in weights if weight.ndim > 1)


def open_backend(folder: Path) -> Backend:
    """The files in ExecuTorch."""
    from mobilesam.predict.executorch import ExecuTorchBackend

    return ExecuTorchBackend(folder)


RUNTIME = Runtime("ExecuTorch", ".pte", convert, open_backend, halves=True)
FILES = RUNTIME.files


def write_files(draft: Draft) -> None:
    """Write encoder.pte and decoder.pte into a draft, and compare them with torch in ExecuTorch.

    Raises:
        ExportError: ExecuTorch and torch disagree.
    """
    write_fixed(draft, RUNTIME)
