"""Export to CoreML: encoder.mlpackage and decoder.mlpackage, ML programs for iOS 17 and macOS 14.

Needs the extra `executorch`, which brings coremltools. CoreML runs on Apple's systems only: there the packages are run
and compared with torch, elsewhere their specifications are checked.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.errors import ExportError
from mobilesam.export.draft import DEFAULT_CHECK, Check
from mobilesam.export.fixed_pair import FixedGraph, Runtime, export_fixed
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.predict.backend import Backend

MAX_RANK = 5
"""Dimensions of an array that CoreML's layers take."""
WAVES = ("sin", "cos")


def export_coreml(
    sam: Sam,
    folder: Path,
    *,
    licence: str,
    precision: StoredPrecision = "float16",
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export a network for CoreML: encoder.mlpackage, decoder.mlpackage and model.json.

    Args:
        sam: the network.
        folder: made if missing.
        licence: of the weights, for the metadata.
        precision: "float16", which Apple's GPU and neural engine compute in, with positions in float32; or "float32".
        outputs: the rule for what may be replaced.
        check: the photos that masks are compared on, where CoreML runs.

    Returns:
        The packages, which are folders, and model.json.

    Raises:
        ExportError: a specification is not what a client expects, or CoreML and torch disagree; nothing is left.
        OutputError: another's file is there.
    """
    return export_fixed(sam, folder, COREML, licence=licence, precision=precision, outputs=outputs, check=check)


def convert(graph: FixedGraph, path: Path, metadata: dict[str, str], precision: StoredPrecision) -> None:
    """Write a graph as an .mlpackage; the photo is an image for CoreML, all else are arrays of float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this torch was not tried by its makers
        import coremltools as ct

        program = torch.export.export(graph.module, tuple(graph.inputs.values())).run_decompositions({})
        computes = ct.transform.FP16ComputePrecision(op_selector=lambda op: not feeds_waves(op))
        model = ct.convert(
            program,
            inputs=[input_type(name, tuple(array.shape)) for name, array in graph.inputs.items()],
            outputs=[ct.TensorType(name=name, dtype=np.float32) for name in graph.outputs],
            compute_precision=computes if precision == "float16" else ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS17,
            skip_model_load=True,
        )
        for key, value in metadata.items():
            model.user_defined_metadata[key] = value
        model.license, model.short_description = metadata["licence"], f"mobilesam {metadata['model_name']} {graph.name}"
        model.save(str(path))


def input_type(name: str, shape: tuple[int, ...]) -> Any:
    """How CoreML takes an input."""
    import coremltools as ct

    if name == contract.ENCODER_INPUT:
        return ct.ImageType(name=name, shape=shape, color_layout=ct.colorlayout.RGB)
    return ct.TensorType(name=name, shape=shape, dtype=np.float32)


def feeds_waves(op: Any) -> bool:
    """Whether an operation is a step to the sine of a position, for which float16 has too few digits."""
    seen, waiting = set(), [op]
    while waiting:
        step = waiting.pop()
        if step.op_type in WAVES:
            return True
        children = [child for output in step.outputs for child in output.child_ops if id(child) not in seen]
        seen |= {id(child) for child in children}
        waiting += children
    return False


def inspect(graph: FixedGraph, path: Path) -> None:
    """Check a package's specification.

    Raises:
        ExportError: names, shapes or types of inputs or outputs differ, an array has more dimensions than CoreML takes,
            or a step is of a kind that only the program which wrote it can run.
    """
    import coremltools as ct

    spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec()
    found = {feature.name: describe(feature) for feature in spec.description.input}
    expected = {name: ("image" if name == contract.ENCODER_INPUT else "array", tuple(array.shape))
                for name, array in graph.inputs.items()}  # fmt: skip
    if found != expected:
        raise ExportError(f"{path.name}: CoreML's inputs are {found}, not {expected}")
    outputs = tuple(feature.name for feature in spec.description.output)
    if outputs != graph.outputs:
        raise ExportError(f"{path.name}: CoreML's outputs are {outputs}, not {graph.outputs}")
    for op in operations(spec):
        if op.type.startswith("custom"):
            raise ExportError(f"{path.name}: the step {op.type} runs in no CoreML but its maker's")
        for output in op.outputs:
            if output.type.tensorType.rank > MAX_RANK:
                raise ExportError(
                    f"{path.name}: {op.type} has {output.type.tensorType.rank} dimensions, above {MAX_RANK}"
                )


def describe(feature: Any) -> tuple[str, tuple[int, ...]]:
    """An input of a specification: its kind, and its shape as the graph has it."""
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        return "image", (1, 3, image.height, image.width)
    return "array", tuple(feature.type.multiArrayType.shape)


def operations(spec: Any) -> Iterator[Any]:
    """All operations of an ML program."""
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            yield from block.operations


def open_backend(folder: Path) -> Backend | None:
    """The packages in CoreML, on Apple's systems."""
    if platform.system() != "Darwin":
        return None
    from mobilesam.predict.coreml import CoreMlBackend

    return CoreMlBackend(folder)


COREML = Runtime("coreml", "CoreML", ".mlpackage", convert, open_backend, inspect)
