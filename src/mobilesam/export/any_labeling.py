"""Files for the annotation tool X-AnyLabeling: an encoder with the input it feeds, and its configuration.

The tool scales a photo into 684 x 1024 pixels, gives the encoder an array (684, 1024, 3) without a batch, and the
decoder of SAM's official signature a mask input of 256 x 256. So the model must run at 1024 px.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.export.draft import DEFAULT_CHECK, Check, drafting
from mobilesam.export.onnx import PAIR_FILES, SAM_DECODER_FILE, write_pair, write_sam_decoder
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs

INPUT_HW = (684, 1024)
ENCODER_FILE, CONFIG_FILE = "x_anylabeling_encoder.onnx", "x_anylabeling.yaml"
INPUT = "input_image"


def export_any_labeling(
    sam: Sam,
    folder: str | os.PathLike[str],
    *,
    licence: str,
    precision: StoredPrecision = "float32",
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export the pair, SAM's decoder, and the encoder and configuration that X-AnyLabeling opens.

    Args:
        sam: the network, configured for 1024 px.
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
    names = (*PAIR_FILES, SAM_DECODER_FILE, ENCODER_FILE, CONFIG_FILE)
    settings: dict[str, Any] = {"precision": precision, "licence": licence, "outputs": outputs, "check": check}
    with drafting(sam, folder, names=names, form="anylabeling", **settings) as draft:
        write_pair(draft)
        write_sam_decoder(draft)
        write_encoder(draft.folder)
        text = configuration(SAM_DECODER_FILE, sam.config.name)
        (draft.folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    return draft.files


def write_encoder(folder: Path) -> None:
    """Write the encoder with the tool's input beside encoder.onnx."""
    model = onnx.load(folder / contract.ENCODER_FILE)
    graph = model.graph
    photo = next(value for value in graph.input if value.name == contract.ENCODER_INPUT)
    graph.input.remove(photo)
    graph.input.insert(0, helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [*INPUT_HW, 3]))
    graph.initializer.append(helper.make_tensor("x_anylabeling_axis", TensorProto.INT64, [1], [0]))
    turned = helper.make_node("Transpose", [INPUT], ["x_anylabeling_chw"], perm=[2, 0, 1])  # (3, 684, 1024)
    batched = helper.make_node("Unsqueeze", ["x_anylabeling_chw", "x_anylabeling_axis"], [contract.ENCODER_INPUT])
    graph.node.insert(0, batched)
    graph.node.insert(0, turned)
    onnx.checker.check_model(model)
    onnx.save(model, folder / ENCODER_FILE)


def configuration(decoder: str, name: str) -> str:
    """The configuration that "Load Custom Model" of X-AnyLabeling opens; paths are relative to it."""
    lines = {
        "type": "segment_anything",
        "name": f"mobilesam-{name}",
        "provider": "mobilesam",
        "display_name": f"mobilesam ({name})",
        "encoder_model_path": ENCODER_FILE,
        "decoder_model_path": decoder,
        "input_size": INPUT_HW[1],
        "max_width": INPUT_HW[1],
        "max_height": INPUT_HW[0],
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())
