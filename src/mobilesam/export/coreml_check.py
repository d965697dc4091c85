"""Check of a CoreML package without running it: inputs, outputs, operators and sizes, from its specification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mobilesam import contract
from mobilesam.errors import ExportError
from mobilesam.export.fixed_pair import FixedGraph

MAX_RANK = 5
"""Dimensions of an array that CoreML's layers take."""


def inspect(graph: FixedGraph, path: Path) -> dict[str, Any]:
    """Check a package's specification against the graph that it was converted from.

    Returns:
        For model.json: how often each operator occurs, without constants, and the bytes of the weights.

    Raises:
        ExportError: says what differs, as `check` does.
    """
    import coremltools as ct

    spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec()
    check(graph, spec, path.name)
    kinds = Counter(op.type for op in operations(spec) if op.type != "const")
    weights = sum(file.stat().st_size for file in path.rglob("*.bin"))
    return {"operators": dict(sorted(kinds.items())), "weight_bytes": weights}


def check(graph: FixedGraph, spec: Any, name: str) -> None:
    """Check a specification.

    Args:
        graph: what it was converted from.
        spec: the protocol buffer.
        name: of the package, for the messages.

    Raises:
        ExportError: inputs or outputs differ in name, type or size; an operator is not one of iOS 17; the size of an
            array is not known before the program runs, or it has more dimensions than CoreML takes.
    """
    found = {feature.name: describe(feature) for feature in spec.description.input}
    expected = {
        key: ("image" if key == contract.ENCODER_INPUT else "FLOAT32", tuple(array.shape))
        for key, array in graph.inputs.items()
    }
    if found != expected:
        raise ExportError(f"{name}: CoreML's inputs are {found}, not {expected}")
    found = {feature.name: describe(feature) for feature in spec.description.output}
    expected = {key: ("FLOAT32", size) for key, size in zip(graph.outputs, output_sizes(graph), strict=True)}
    if found != expected:
        raise ExportError(f"{name}: CoreML's outputs are {found}, not {expected}")
    known = known_operators()
    for op in operations(spec):
        if op.type not in known:
            raise ExportError(f"{name}: the operator {op.type} is none of Core ML's for iOS 17")
        for output in op.outputs:
            check_array(output, f"{name}: {output.name} of the operator {op.type}")


def output_sizes(graph: FixedGraph) -> list[tuple[int, ...]]:
    """Shapes of a graph's outputs, found by running it."""
    with torch.inference_mode():
        answer = graph.module(*graph.inputs.values())
    return [tuple(array.shape) for array in ([answer] if isinstance(answer, torch.Tensor) else answer)]


def check_array(value: Any, what: str) -> None:
    """Check the rank and the sizes of what an operator gives.

    Raises:
        ExportError: there are too many dimensions, or one is unknown or 0.
    """
    array = value.type.tensorType
    if array.rank > MAX_RANK:
        raise ExportError(f"{what} has {array.rank} dimensions, above {MAX_RANK}")
    sizes = [side.constant.size if side.WhichOneof("dimension") == "constant" else 0 for side in array.dimensions]
    if value.type.WhichOneof("type") == "tensorType" and not all(sizes):
        raise ExportError(f"{what} has a size that is not known before it runs: {sizes}, 0 being unknown")


def known_operators() -> set[str]:
    """Names of the operators of iOS 17, with those that came before and are still taken."""
    import coremltools as ct
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    return {name for name, versions in SSAOpRegistry.core_ops.items() if ct.target.iOS17 in versions}


def describe(feature: Any) -> tuple[str, tuple[int, ...]]:
    """An input or output of a specification: its kind, and its shape as the graph has it."""
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        return "image", (1, 3, image.height, image.width)
    array = feature.type.multiArrayType
    return array.ArrayDataType.Name(array.dataType), tuple(array.shape)


def operations(spec: Any) -> Iterator[Any]:
    """All operations of an ML program, also those of blocks inside others."""
    blocks = [
        block for function in spec.mlProgram.functions.values() for block in function.block_specializations.values()
    ]
    while blocks:
        block = blocks.pop()
        for op in block.operations:
            yield op
            blocks += op.blocks
