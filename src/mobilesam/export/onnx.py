"""Export to ONNX: the encoder/decoder pair of `mobilesam.contract`."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.errors import ExportError
from mobilesam.export.bias_correction import correct_biases, input_means
from mobilesam.export.draft import DEFAULT_CHECK, Check, Draft, drafting
from mobilesam.export.folding import fold_norms
from mobilesam.export.placing import PAIR_FILES as PAIR_FILES
from mobilesam.export.small_weights import Levels, plan, quantise, shorten, store, store_together
from mobilesam.export.tracing import (
    HALVED_FROM,
    decoder_graph,
    encoder_graph,
    many_graph,
    share_weights,
    store_as_fp16,
    trace,
    write,
)
from mobilesam.export.verify import verify_pair
from mobilesam.integrity import CHECKPOINTS, SOURCE
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs

FILES = PAIR_FILES
UNPACKED = ("ort", "openvino")
"""Formats that are converted from the pair: each weight keeps its name, and a small one its numbers."""


def export_pair(
    sam: Sam,
    folder: str | os.PathLike[str],
    *,
    licence: str,
    precision: StoredPrecision = "float32",
    source_sha256: str = "",
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export encoder.onnx, both decoders and model.json into a folder, after comparing their outputs with torch.

    Args:
        sam: the network; its weights are rounded in place unless the precision is "float32".
        folder: made if missing.
        licence: of the weights, for the metadata.
        precision: number format of the weights in the files; "float16" halves them, and is computed in float32.
        source_sha256: of the published checkpoint that the weights come from, for model.json.
        outputs: the rule for what may be replaced.
        check: the photos that masks are compared on, unless the precision is "float32".

    Returns:
        The files written.

    Raises:
        ExportError: onnxruntime and torch disagree; nothing is left in the folder.
        OutputError: another's file is there; nothing is written.
    """
    settings: dict[str, Any] = {"precision": precision, "licence": licence, "outputs": outputs, "check": check}
    with drafting(sam, folder, names=PAIR_FILES, form="onnx", **settings) as draft:
        draft.card |= {SOURCE: source_sha256} if source_sha256 else {}
        write_pair(draft)
    return draft.files


def write_files(draft: Draft) -> None:
    """`write_pair`, under the name that every format's module has."""
    write_pair(draft)


def write_pair(draft: Draft, *, compare: bool = True) -> None:
    """Write the three graphs of the contract into a draft and compare them with torch.

    Args:
        draft: where to.
        compare: compare masks in onnxruntime too, where weights are rounded.

    Raises:
        ExportError: onnxruntime and torch disagree.
    """
    if draft.precision == "int8":
        write_int8_pair(draft)
        return
    sam, stored = rounded(draft)
    for file, graph in zip(PAIR_FILES, (encoder_graph(sam), decoder_graph(sam), many_graph(sam)), strict=True):
        model = trace(graph, draft.folder)
        if stored:
            together = draft.form not in UNPACKED
            compress(model, sam, stored, is_encoder=file == contract.ENCODER_FILE, together=together)
        if draft.precision != "float32":
            store_as_fp16(model)
        metadata = dict(draft.metadata)
        if file == contract.MANY_FILE:
            metadata[contract.MANY_DECODER_SHA256] = share_weights(model, draft.folder / contract.DECODER_FILE)
        helper.set_model_props(model, metadata)
        write(model, draft.folder / file)
    draft.card["verified"] = verify_pair(sam, draft.folder)
    if draft.precision != "float32" and compare:
        check_in_runtime(draft)


def write_int8_pair(draft: Draft) -> None:
    """Write encoder.onnx and decoder.onnx that compute in int8 into a draft.

    Raises:
        ExportError: their masks agree too little with the network's.
    """
    from mobilesam.export import int8

    sam = copy.deepcopy(draft.sam)
    fold_norms(sam.image_encoder)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for file, graph in ((contract.ENCODER_FILE, encoder_graph(sam)), (contract.DECODER_FILE, decoder_graph(sam))):
            path = draft.folder / file
            write(trace(graph, scratch), path)
            if file == contract.ENCODER_FILE:
                int8.quantise_encoder(draft, path, scratch)
            else:
                int8.quantise_products(path, scratch)
            int8.finish(path, draft.metadata)
    check_in_runtime(draft)


def check_in_runtime(draft: Draft) -> None:
    """Compare masks of a draft's pair, run in onnxruntime, with the network's in float32."""
    from mobilesam.predict.onnx import OnnxBackend

    draft.seal()
    draft.check_masks(OnnxBackend(draft.folder, quick_start=True))


def rounded(draft: Draft) -> tuple[Sam, dict[str, Levels]]:
    """The network whose weights are those that the files will hold, and the weights that are stored in few levels."""
    if draft.precision == "float32":
        return draft.sam, {}
    if draft.precision == "float16" and draft.form in CHECKPOINTS:
        round_to_fp16(draft.sam)
        draft.describe()
        return draft.sam, {}
    sam = copy.deepcopy(draft.sam)  # rounded so coarsely, it is no checkpoint; the original goes on identifying it
    fold_norms(sam.image_encoder)
    if draft.precision == "float16":
        round_to_fp16(sam)
        return sam, {}
    levels, means = plan(sam, draft.precision), input_means(sam, draft.photos)
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    round_to_fp16(sam, leave=levels)
    stored = quantise(sam, levels)
    correct_biases(sam, before, means)
    return sam, stored


def compress(
    model: onnx.ModelProto, sam: Sam, stored: Mapping[str, Levels], *, is_encoder: bool, together: bool = True
) -> None:
    """Store weights of a graph's half in few levels.

    Args:
        model: changed in place.
        sam: the network that it was traced from.
        stored: name of a weight -> its levels.
        is_encoder: which half; all of its weights are packed, so that graphs can share the bytes.
        together: also store the small weights in one tensor, and shorten all names. Where the graph is converted to
            another format, its optimiser would leave that tensor as it is, to be split in every call.
    """
    half = [name for name in sam.state_dict() if name.startswith("image_encoder.") == is_encoder]
    store(model, {name: stored[name] for name in half if name in stored})
    if not together:
        return
    few = {name: sam.state_dict()[name] for name in half if name not in stored}
    store_together(
        model,
        {
            name: weight.numpy()
            for name, weight in few.items()
            if weight.is_floating_point() and weight.numel() < HALVED_FROM
        },
    )
    shorten(model)


def round_to_fp16(sam: Sam, leave: Collection[str] = ()) -> None:
    """Round every weight but those of `leave` to the nearest float16, in place, keeping float32 storage.

    Raises:
        ExportError: a weight does not fit float16's range.
    """
    with torch.no_grad():
        for key, value in sam.state_dict().items():
            if value.is_floating_point() and key not in leave:
                value.copy_(value.half().float())
                if not torch.isfinite(value).all():
                    raise ExportError(f"{key} exceeds the range of float16; export as float32")
