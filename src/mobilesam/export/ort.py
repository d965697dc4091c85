"""Export to onnxruntime's mobile format: encoder.ort and decoder.ort, which its small builds for phones open.

The graphs are those of the ONNX pair, optimised by onnxruntime. Attention biases stay behind their gather, because
folding writes them out for every pair of cells; so do weights in float16 and int8, which are widened in every call.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from mobilesam import contract
from mobilesam.errors import ExportError
from mobilesam.export import tracing
from mobilesam.export.draft import Draft
from mobilesam.export.onnx import write_pair
from mobilesam.export.verify import verify_decoder, verify_encoder
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import onnxruntime as ort

FILES = (contract.ORT_ENCODER_FILE, contract.ORT_DECODER_FILE)
WEIGHT_BYTES = {"float32": 4, "float16": 2, "int8-weights": 1}
"""Bytes of most weights in a file, by precision."""


def write_files(draft: Draft) -> None:
    """Write the pair as ONNX files aside, convert it into a draft, and compare the result with torch.

    Raises:
        ExportError: the encoder does not fit one file, or onnxruntime and torch disagree.
    """
    from mobilesam.predict.onnx import OnnxBackend

    check_size(draft)
    with tempfile.TemporaryDirectory() as scratch:
        aside = draft.beside(Path(scratch))
        write_pair(aside, compare=False)
        for source, target in zip((contract.ENCODER_FILE, contract.DECODER_FILE), FILES, strict=True):
            convert(Path(scratch) / source, draft.folder / target)
    if draft.precision == "float32":
        draft.card["verified"] = verify_encoder(draft.sam, draft.folder / FILES[0])
        draft.card["verified"] |= verify_decoder(draft.sam, draft.folder / FILES[1])
    draft.seal()
    backend = OnnxBackend(draft.folder, quick_start=True)
    if draft.precision != "float32":
        draft.check_numbers(backend, "onnxruntime")
    draft.check_masks(backend)


def check_size(draft: Draft) -> None:
    """Refuse an encoder that does not fit one file: this format has no second one for weights, as ONNX has.

    Raises:
        ExportError: its weights in this precision take 2 GB.
    """
    size = sum(weight.numel() for weight in draft.sam.image_encoder.parameters()) * WEIGHT_BYTES[draft.precision]
    if size > tracing.PROTOBUF_LIMIT:
        raise ExportError(
            f"the encoder's weights take {size / 1e9:.1f} GB in {draft.precision}, and a file of the format ort holds "
            "less than 2 GB; choose --precision float16 or int8-weights, or --format onnx, which splits them off"
        )


def convert(source: Path, target: Path) -> None:
    """Optimise an ONNX file and write it in the mobile format.

    Files of this format are not optimised when they are loaded, so that is done here; what folding would make larger
    is kept out of it.
    """
    model = onnx.load(source)
    kept = {weight.name: weight for weight in model.graph.initializer if grows(weight)}
    # As inputs of the graph they are not constant, so nothing that is computed from them can be folded.
    for name, weight in kept.items():
        model.graph.initializer.remove(weight)
        model.graph.input.append(helper.make_tensor_value_info(name, weight.data_type, weight.dims))
    opened = source.with_name(f"open_{source.name}")
    onnx.save(model, opened)
    optimised = source.with_name(f"optimised_{source.name}")
    optimise(opened, optimised, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    model = onnx.load(optimised)
    for value in [value for value in model.graph.input if value.name in kept]:
        model.graph.input.remove(value)
    model.graph.initializer.extend(kept.values())
    onnx.save(model, optimised)
    optimise(optimised, target, ort.GraphOptimizationLevel.ORT_DISABLE_ALL, save_format="ORT")


def grows(weight: onnx.TensorProto) -> bool:
    """Whether folding writes a weight out larger: attention biases for each pair of cells, small numbers as float32."""
    is_small_number = weight.data_type in (TensorProto.FLOAT16, TensorProto.INT8) and math.prod(weight.dims) >= 1024
    return is_small_number or weight.name.endswith("attention_biases")


def optimise(source: Path, target: Path, level: ort.GraphOptimizationLevel, save_format: str = "ONNX") -> None:
    """Write a graph as onnxruntime optimises it."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", save_format)
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
