"""Export to ONNX: the encoder/decoder pair of `mobilesam.contract`, or SAM's official decoder layout."""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mobilesam import contract
from mobilesam.choices import StoredPrecision
from mobilesam.errors import ExportError
from mobilesam.export.draft import DEFAULT_CHECK, Check, Draft, drafting
from mobilesam.export.folding import fold_norms
from mobilesam.export.graphs import DecoderGraph, EncoderGraph, ManyDecoderGraph, SamDecoderGraph
from mobilesam.export.small_weights import Levels, plan, quantise, shorten, store
from mobilesam.export.verify import verify_pair, verify_sam_decoder
from mobilesam.integrity import SOURCE
from mobilesam.model.pair_weights import CHECKPOINTS
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs

OPSET = 17  # the first with LayerNormalization; read by onnxruntime 1.12 and later
PAIR_FILES = (contract.ENCODER_FILE, contract.DECODER_FILE, contract.MANY_FILE)
SAM_DECODER_FILE = "sam_decoder.onnx"
SHARED_FROM = 1024  # bytes; smaller weights are kept in each graph
PROTOBUF_LIMIT = 1_900_000_000  # bytes; a file of 2 GiB cannot be parsed


@dataclass(frozen=True)
class _Graph:
    """A graph to export: module, example inputs, output names and dynamic axes."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]]


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


def export_sam(
    sam: Sam,
    folder: str | os.PathLike[str],
    *,
    licence: str,
    precision: StoredPrecision = "float32",
    outputs: Outputs = DEFAULT,
    check: Check = DEFAULT_CHECK,
) -> list[Path]:
    """Export the pair, and beside it sam_decoder.onnx with SAM's official signature; errors are `export_pair`'s."""
    # Besides the pair, not in place of it: the backends of this package load only the pair.
    settings: dict[str, Any] = {"precision": precision, "licence": licence, "outputs": outputs, "check": check}
    with drafting(sam, folder, names=(*PAIR_FILES, SAM_DECODER_FILE), form="sam", **settings) as draft:
        write_pair(draft)
        write_sam_decoder(draft)
    return draft.files


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
        compress(model, stored, file == contract.ENCODER_FILE)
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
    levels = {} if draft.precision == "float16" else plan(sam, draft.precision)
    round_to_fp16(sam, leave=levels)
    return sam, quantise(sam, levels)


def compress(model: onnx.ModelProto, stored: Mapping[str, Levels], is_encoder: bool) -> None:
    """Store weights of a graph in few levels, those of its half in all its graphs, so that graphs share the bytes."""
    if stored:
        half = {name: weight for name, weight in stored.items() if name.startswith("image_encoder.") == is_encoder}
        store(model, half)
        shorten(model)


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


def encoder_graph(sam: Sam) -> _Graph:
    """The encoder graph with dynamic batch and photo size."""
    size = sam.config.image_size
    return _Graph(
        EncoderGraph(sam),
        {contract.ENCODER_INPUT: torch.rand(1, 3, size // 2, size) * 255},
        (contract.ENCODER_OUTPUT,),
        {contract.ENCODER_INPUT: {0: "B", 2: "H", 3: "W"}, contract.ENCODER_OUTPUT: {0: "B"}},
    )


def decoder_graph(sam: Sam) -> _Graph:
    """The decoder graph with dynamic numbers of prompts and points, and a dynamic grid where the encoder has one."""
    grid = sam.config.grid
    inputs = (
        torch.rand(1, sam.config.embed_dim, grid, grid),
        torch.rand(2, 3, 2) * sam.config.image_size,
        torch.tensor([[1.0, 0.0, -1.0], [1.0, 2.0, 3.0]]),
        torch.rand(2, 1, 4 * grid, 4 * grid),
        torch.tensor([0.0, 1.0]),
    )
    dynamic: dict[str, dict[int, str]] = {
        "embedding": {0: "E"},
        "point_coords": {0: "N", 1: "P"},
        "point_labels": {0: "N", 1: "P"},
        "mask_input": {0: "M"},
        "has_mask_input": {0: "M"},
        "low_res_masks": {0: "S"},
        "iou_predictions": {0: "N"},
    }
    if sam.config.sides:  # a client that knows the side may fix these two names, and lose nothing to a fixed graph
        dynamic["embedding"] |= {2: contract.GRID, 3: contract.GRID}
        for name in ("mask_input", "low_res_masks"):
            dynamic[name] |= {2: contract.LOW_RES, 3: contract.LOW_RES}
    named = dict(zip(contract.DECODER_INPUTS, inputs, strict=True)) | {contract.DECODER_MIN_SCORE: torch.tensor(0.0)}
    return _Graph(DecoderGraph(sam), named, contract.DECODER_OUTPUTS, dynamic)


def many_graph(sam: Sam) -> _Graph:
    """The graph of the decoder for many prompts: `decoder_graph` without mask inputs."""
    graph = decoder_graph(sam)
    inputs = {name: graph.inputs[name] for name in contract.MANY_INPUTS}
    known = {*inputs, *graph.outputs}
    dynamic = {name: sides for name, sides in graph.dynamic.items() if name in known}
    dynamic["embedding"] = {axis: name for axis, name in dynamic["embedding"].items() if axis}  # of one photo
    return _Graph(ManyDecoderGraph(sam), inputs, graph.outputs, dynamic)


def sam_decoder_graph(sam: Sam) -> _Graph:
    """The decoder graph in SAM's official layout: one prompt, any number of points, any photo size."""
    grid, size = sam.config.grid, sam.config.image_size
    inputs = {
        "image_embeddings": torch.rand(1, sam.config.embed_dim, grid, grid),
        "point_coords": torch.rand(1, 3, 2) * size,
        "point_labels": torch.tensor([[1.0, 0.0, -1.0]]),
        "mask_input": torch.rand(1, 1, 4 * grid, 4 * grid),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([size * 0.75, size * 1.5]).round(),
    }
    dynamic = {
        "point_coords": {1: "num_points"},
        "point_labels": {1: "num_points"},
        "masks": {2: "height", 3: "width"},
    }
    return _Graph(SamDecoderGraph(sam), inputs, ("masks", "iou_predictions", "low_res_masks"), dynamic)


def trace(graph: _Graph, scratch: Path) -> onnx.ModelProto:
    """Trace one graph without constant folding, so that every weight keeps its name and value."""
    options: dict[str, Any] = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    # A folder of its own, because weights over 2 GB come as one file per tensor.
    with tempfile.TemporaryDirectory(dir=scratch) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python number that it fixes
        path = Path(folder) / "graph.onnx"
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.dynamic,
            **options,
        )
        return onnx.load(path)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Save and check a graph; weights beyond protobuf's 2 GB go into a file beside it (ViT-H in float32)."""
    size = sum(len(initializer.raw_data) for initializer in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=size > PROTOBUF_LIMIT, location=path.name + ".data")
    onnx.checker.check_model(str(path))


def share_weights(model: onnx.ModelProto, holder: Path) -> str:
    """Replace a graph's weights by references into the bytes of another file, and return that file's sha256."""
    content = holder.read_bytes()
    for weight in model.graph.initializer:
        start = content.find(weight.raw_data) if len(weight.raw_data) >= SHARED_FROM else -1
        if start < 0:
            continue
        place = {"location": holder.name, "offset": start, "length": len(weight.raw_data)}
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in place.items())
    return hashlib.sha256(content).hexdigest()


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


def store_as_fp16(model: onnx.ModelProto, only: Collection[str] | None = None) -> None:
    """Replace float32 weights (all, or those named) by float16 ones and a Cast, which runtimes fold."""
    casts = []
    renamed = {}
    for initializer in model.graph.initializer:
        if initializer.data_type != TensorProto.FLOAT or ":" in initializer.name:  # scales and the like stay
            continue
        if only is not None and initializer.name not in only:
            continue
        array = numpy_helper.to_array(initializer).astype(np.float16)
        renamed[initializer.name] = initializer.name + ":float32"
        casts.append(helper.make_node("Cast", [initializer.name], [renamed[initializer.name]], to=TensorProto.FLOAT))
        initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
