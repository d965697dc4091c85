"""Export to OpenVINO's own format (extra `openvino`): a .xml with the graph and a .bin with the weights for each graph.

OpenVINO reads the ONNX pair too; its own format loads faster and is what its tools and model server take.
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
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import openvino as ov

GRAPHS = {contract.ENCODER_FILE: contract.OPENVINO_ENCODER_FILE, contract.DECODER_FILE: contract.OPENVINO_DECODER_FILE}
FILES = tuple(name for file in GRAPHS.values() for name in (file, file.replace(".xml", ".bin")))


def export_openvino(
    sam: Sam,
    folder: str | os.PathLike[str],
    *,
    licence: str,
    precision: StoredPrecision = "float32",
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export encoder and decoder in OpenVINO's format, and model.json, after comparing their masks with torch's.

    Args:
        sam: the network; its weights are rounded in place unless the precision is "float32".
        folder: made if missing.
        licence: of the weights, for the metadata.
        precision: number format of the weights in the files.
        outputs: the rule for what may be replaced.
        check: the photos that masks are compared on.

    Returns:
        The files that were written.

    Raises:
        ExportError: OpenVINO and torch disagree; nothing is written.
        OutputError: another's file is there; nothing is written.
    """
    settings: dict[str, Any] = {"precision": precision, "licence": licence, "outputs": outputs, "check": check}
    with drafting(sam, folder, names=FILES, form="openvino", **settings) as draft:
        write_openvino(draft)
    return draft.files


def write_openvino(draft: Draft) -> None:
    """Write the pair as ONNX files aside, convert it into a draft, and compare the masks of the result."""
    from mobilesam.predict.openvino import OpenVinoBackend, open_optional_input

    with tempfile.TemporaryDirectory() as scratch:
        aside = draft.beside(Path(scratch))
        write_pair(aside, compare=False)
        for source, target in GRAPHS.items():
            graph = ov.Core().read_model(Path(scratch) / source)
            open_optional_input(graph)
            for key, value in draft.metadata.items():
                graph.set_rt_info(value, ["framework", key])
            ov.save_model(graph, draft.folder / target, compress_to_fp16=draft.precision == "float16")
            del graph  # which holds the ONNX file open
    draft.card["verified"] = aside.card["verified"]
    draft.seal()
    draft.check_masks(OpenVinoBackend(draft.folder))
