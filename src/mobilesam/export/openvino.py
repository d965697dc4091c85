"""Export to OpenVINO's own format (extra `openvino`): a .xml with the graph and a .bin with the weights for each graph.

OpenVINO reads the ONNX pair too; its own format loads faster and is what its tools and model server take.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from mobilesam import contract
from mobilesam.export.draft import Draft
from mobilesam.export.onnx import write_pair
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import openvino as ov

GRAPHS = {contract.ENCODER_FILE: contract.OPENVINO_ENCODER_FILE, contract.DECODER_FILE: contract.OPENVINO_DECODER_FILE}
FILES = tuple(name for file in GRAPHS.values() for name in (file, file.replace(".xml", ".bin")))


def write_files(draft: Draft) -> None:
    """Write the pair as ONNX files aside, convert it into a draft, and compare the masks of the result.

    Raises:
        ExportError: OpenVINO and torch disagree.
    """
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
    draft.seal()
    backend = OpenVinoBackend(draft.folder)
    draft.check_numbers(backend, "OpenVINO")
    draft.check_masks(backend)
