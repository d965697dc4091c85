"""Export to onnxruntime's mobile format: encoder.ort and decoder.ort, which its small builds for phones open.

The graphs are those of the ONNX pair, and weights are folded as far as onnxruntime's mobile builds need it. Attention
biases stay behind their gather, because folding writes them out for every pair of cells.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.export.draft import DEFAULT_CHECK, Check, Draft, drafting
from mobilesam.export.onnx import write_pair
from mobilesam.export.verify import verify_decoder, verify_encoder
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import onnxruntime as ort

FILES = (contract.ORT_ENCODER_FILE, contract.ORT_DECODER_FILE)


def export_ort(
    sam: Sam,
    folder: str | os.PathLike[str],
    *,
    licence: str,
    precision: StoredPrecision = "float32",
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export encoder.ort, decoder.ort and model.json into a folder, after comparing them with torch in onnxruntime.

    Args:
        sam: the network.
        folder: made if missing.
        licence: of the weights, for the metadata.
        precision: number format of the weights in the files.
        outputs: the rule for what may be replaced.
        check: the photos that masks are compared on.

    Returns:
        The files that were written.

    Raises:
        ExportError: onnxruntime and torch disagree; nothing is written.
        OutputError: another's file is there; nothing is written.
    """
    settings: dict[str, Any] = {"precision": precision, "licence": licence, "outputs": outputs, "check": check}
    with drafting(sam, folder, names=FILES, form="ort", **settings) as draft:
        write_ort(draft)
    return draft.files


def write_ort(draft: Draft) -> None:
    """Write the pair as ONNX files aside, convert it into a draft, and compare the result with torch."""
    from mobilesam.predict.onnx import OnnxBackend

    with tempfile.TemporaryDirectory() as scratch:
        aside = draft.beside(Path(scratch))
        write_pair(aside, compare=False)
        for source, target in zip((contract.ENCODER_FILE, contract.DECODER_FILE), FILES, strict=True):
            convert(Path(scratch) / source, draft.folder / target)
    draft.card["verified"] = aside.card["verified"]
    if draft.precision in ("float32", "float16"):
        draft.card["verified"] = verify_encoder(draft.sam, draft.folder / FILES[0])
        draft.card["verified"] |= verify_decoder(draft.sam, draft.folder / FILES[1])
    draft.seal()
    draft.check_masks(OnnxBackend(draft.folder, quick_start=True))


def convert(source: Path, target: Path) -> None:
    """Convert an ONNX file; constants and weights stay as they are stored, since folding would write them out."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Folding multiplies the size: weights of few bits and float16 ones would be written as float32, and attention
    # biases for each pair of cells. The runtime folds them when it loads the file.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
