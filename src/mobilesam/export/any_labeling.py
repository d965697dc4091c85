"""Files for the annotation tool X-AnyLabeling: an encoder with the input it feeds, and its configuration.

The tool scales a photo into 684 x 1024 pixels, gives the encoder an array (684, 1024, 3) without a batch, and the
decoder of SAM's official signature a mask input of 256 x 256. So the model must run at 1024 px.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from mobilesam import contract
from mobilesam.export.draft import Draft
from mobilesam.export.fixed_check import check_errors, drawn_photo, keep_worst
from mobilesam.export.onnx import PAIR_FILES, write_pair
from mobilesam.export.sam_decoder import SAM_DECODER_FILE, write_sam_decoder
from mobilesam.export.tracing import write
from mobilesam.export.verify import open_session

INPUT_HW = (684, 1024)
ENCODER_FILE, CONFIG_FILE = "x_anylabeling_encoder.onnx", "x_anylabeling.yaml"
INPUT = "input_image"
FILES = (*PAIR_FILES, SAM_DECODER_FILE, ENCODER_FILE, CONFIG_FILE)


def write_files(draft: Draft) -> None:
    """Write the pair, SAM's decoder, and the encoder and configuration that X-AnyLabeling opens, into a draft.

    Raises:
        ExportError: onnxruntime and torch disagree, or the tool's encoder and the pair's.
    """
    write_pair(draft)
    write_sam_decoder(draft)
    write_encoder(draft.folder)
    verify_encoder(draft.folder)
    text = configuration(SAM_DECODER_FILE, draft.sam.config.name)
    (draft.folder / CONFIG_FILE).write_text(text, encoding="utf-8")


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
    write(model, folder / ENCODER_FILE)


def verify_encoder(folder: Path) -> None:
    """Run the encoder with the tool's input on a photo, and compare it with encoder.onnx, which agrees with torch.

    Raises:
        ExportError: the embeddings differ.
    """
    photo = drawn_photo(*INPUT_HW)  # (1, 3, 684, 1024)
    (expected,) = open_session(folder / contract.ENCODER_FILE).run(None, {contract.ENCODER_INPUT: photo})
    given = np.ascontiguousarray(photo[0].transpose(1, 2, 0))  # (684, 1024, 3)
    (found,) = open_session(folder / ENCODER_FILE).run(None, {INPUT: given})
    errors = {ENCODER_FILE: 0.0}
    keep_worst(errors, ENCODER_FILE, np.asarray(found), np.asarray(expected))
    check_errors(errors, "the encoder for X-AnyLabeling", contract.ENCODER_FILE)


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
