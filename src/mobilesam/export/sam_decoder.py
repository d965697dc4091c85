"""Export to ONNX in SAM's official decoder layout, for clients written for SAM's own export script."""

from __future__ import annotations

from onnx import helper

from mobilesam.export.draft import Draft
from mobilesam.export.onnx import PAIR_FILES, write_pair
from mobilesam.export.tracing import sam_decoder_graph, store_as_fp16, trace, write
from mobilesam.export.verify import verify_sam_decoder

SAM_DECODER_FILE = "sam_decoder.onnx"
FILES = (*PAIR_FILES, SAM_DECODER_FILE)


def write_files(draft: Draft) -> None:
    """Write the pair, and beside it sam_decoder.onnx with SAM's official signature, into a draft.

    Raises:
        ExportError: onnxruntime and torch disagree.
    """
    # Besides the pair, not in place of it: the backends of this package load only the pair.
    write_pair(draft)
    write_sam_decoder(draft)


def write_sam_decoder(draft: Draft) -> None:
    """Write the decoder with SAM's official ONNX signature into a draft, and compare its outputs with torch.

    Raises:
        ExportError: onnxruntime and torch disagree.
    """
    model = trace(sam_decoder_graph(draft.sam), draft.folder)
    if draft.precision == "float16":
        store_as_fp16(model)
    helper.set_model_props(model, draft.metadata)
    write(model, draft.folder / SAM_DECODER_FILE)
    verify_sam_decoder(draft.sam, draft.folder / SAM_DECODER_FILE)
