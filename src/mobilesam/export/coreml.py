"""Export to CoreML: encoder.mlpackage and decoder.mlpackage, ML programs for iOS 17 and macOS 14.

"float16" is what Apple's GPU and neural engine compute in; positions stay in float32. "int8-weights" computes in the
same, with a byte for each weight of the larger layers.
Needs the extra `executorch`, which brings coremltools. CoreML runs on Apple's systems only: there the packages are run
and compared with torch, elsewhere their specifications are checked.
"""

from __future__ import annotations

import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.export.coreml_check import inspect
from mobilesam.export.draft import Draft
from mobilesam.export.fixed_pair import FixedGraph, Runtime, write_fixed
from mobilesam.export.small_weights import few
from mobilesam.predict.backend import Backend

WAVES = ("sin", "cos")
LAYERS = ("conv", "conv_transpose", "linear", "matmul")
"""Operators whose weights "int8-weights" stores in a byte each; constants that are added stay as they are."""


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
            compute_precision=ct.precision.FLOAT32 if precision == "float32" else computes,
            minimum_deployment_target=ct.target.iOS17,
            skip_model_load=True,
        )
        if precision == "int8-weights":
            model = with_int8_weights(model, smallest=few(graph.name, depthwise=False))
        for key, value in metadata.items():
            model.user_defined_metadata[key] = value
        model.license, model.short_description = metadata["licence"], f"mobilesam {metadata['model_name']} {graph.name}"
        model.save(str(path))


def with_int8_weights(model: Any, smallest: int) -> Any:
    """Store weights in a byte each, with a scale for each output channel; the system widens them as it loads them.

    Args:
        model: the converted model.
        smallest: weights of fewer elements stay in float16: they cost most masks, and fewest bytes.
    """
    from coremltools.optimize import coreml as tools

    layer = tools.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=smallest - 1
    )
    return tools.linear_quantize_weights(model, tools.OptimizationConfig(op_type_configs=dict.fromkeys(LAYERS, layer)))


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


def open_backend(folder: Path) -> Backend | None:
    """The packages in CoreML, on Apple's systems."""
    if platform.system() != "Darwin":
        return None
    from mobilesam.predict.coreml import CoreMlBackend

    return CoreMlBackend(folder)


RUNTIME = Runtime("CoreML", ".mlpackage", convert, open_backend, inspect)
FILES = RUNTIME.files


def write_files(draft: Draft) -> None:
    """Write encoder.mlpackage and decoder.mlpackage into a draft, and check them.

    Raises:
        ExportError: a specification is not what a client expects, or CoreML and torch disagree.
    """
    write_fixed(draft, RUNTIME)
