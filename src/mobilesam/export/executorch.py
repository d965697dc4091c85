"""Export to ExecuTorch: encoder.pte and decoder.pte for its XNNPACK backend. Needs the extra `executorch`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from mobilesam.export.agreement import Agreement, measure
from mobilesam.export.fixed_pair import FixedGraph, Format, export_fixed
from mobilesam.extras import require
from mobilesam.model.sam import Sam
from mobilesam.outputs import Outputs


def export_executorch(sam: Sam, folder: Path, *, licence: str, precision: str, outputs: Outputs) -> list[Path]:
    """Export a network for ExecuTorch: encoder.pte, decoder.pte and model.json, compared with torch in ExecuTorch.

    Args:
        sam: the network.
        folder: made if missing.
        licence: of the weights, for the metadata.
        precision: "float32"; "int8" computes the linear layers in int8, with scales found at each inference.
        outputs: the rule for what may be replaced.

    Returns:
        The files written.

    Raises:
        MissingExtraError: ExecuTorch is not installed.
        SettingsError: it has no such precision.
        ExportError: ExecuTorch and torch disagree; nothing is left in the folder.
        OutputError: another's file is there.
    """
    require("executorch", "executorch", "exporting for ExecuTorch")
    return export_fixed(sam, folder, EXECUTORCH, licence=licence, precision=precision, outputs=outputs)


def convert(graph: FixedGraph, path: Path, metadata: dict[str, str], precision: str) -> None:
    """Write a graph as a .pte file; each entry of the metadata is a method of that name that returns it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    inputs = tuple(graph.inputs.values())
    module: nn.Module = graph.module
    if precision == "float16":
        module = Half(graph.module, graph.name)
    elif precision == "int8":
        module = with_int8_products(graph.module, inputs)
    lowered = to_edge_transform_and_lower(
        torch.export.export(module, inputs), partitioner=[XnnpackPartitioner()], constant_methods=dict(metadata)
    )
    with path.open("wb") as file:
        lowered.to_executorch().write_to_file(file)


class Half(nn.Module):
    def __init__(self, module, name):
        super().__init__()
        self.module = module.half()
    def forward(self, *inputs):
        out = self.module(*(x.half() for x in inputs))
        return out.float() if isinstance(out, Tensor) else tuple(x.float() for x in out)


def with_int8_products(module: fx.GraphModule, inputs: tuple[Tensor, ...]) -> nn.Module:
    """Quantise the linear layers of a graph: weights now, per channel, and their inputs at each inference."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    prepared = prepare_pt2e(torch.export.export(module, inputs).module(), quantizer)
    prepared(*inputs)
    converted: nn.Module = convert_pt2e(prepared)
    return converted


def verify(folder: Path, sam: Sam) -> Agreement:
    """Run the files in ExecuTorch, and compare with torch."""
    from mobilesam.predict.executorch import ExecuTorchBackend

    return measure(ExecuTorchBackend(folder), sam)


EXECUTORCH = Format("executorch", "ExecuTorch", ".pte", ("float32", "float16", "int8"), convert, verify)
