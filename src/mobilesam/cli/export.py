"""`mobilesam export`: convert a checkpoint to ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mobilesam.cli import options
from mobilesam.extras import require


def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, a folder with a pair, or a model's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the ONNX files.")],
    layout: Annotated[
        Literal["pair", "sam", "x-anylabeling"],
        typer.Option(
            help="sam: also the decoder with SAM's official signature; x-anylabeling: also that tool's files."
        ),
    ] = "pair",
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the metadata.")] = "unknown",
    fp16_storage: Annotated[
        bool, typer.Option("--fp16-storage", help="Store weights as float16, compute in float32: half the size.")
    ] = False,
    image_size: options.ImageSize = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Write encoder.onnx and decoder.onnx, and check that their outputs equal torch's."""
    require("torch", "torch", "exporting")
    from mobilesam.export.onnx import SAM_DECODER_FILE, export_pair, export_sam_decoder
    from mobilesam.model import checkpoint as checkpoints
    from mobilesam.outputs import Outputs
    from mobilesam.weights import find_checkpoint

    source = find_checkpoint(checkpoint)
    outputs = Outputs.beside(source.iterdir() if source.is_dir() else [source], overwrite=overwrite)
    sam = checkpoints.load(source)
    # The network of a checkpoint is the same at every size; only the configuration, which is exported, changes.
    if layout == "x-anylabeling":
        image_size = _any_labeling_size(image_size)
    if image_size is not None:
        sam.config = sam.config.at(image_size)
    files = export_pair(sam, output, licence=licence, fp16_storage=fp16_storage, outputs=outputs)
    # Besides the pair, not in place of it: the backends of this package load only the pair.
    if layout in ("sam", "x-anylabeling"):
        files.append(export_sam_decoder(sam, output / SAM_DECODER_FILE, outputs))
    if layout == "x-anylabeling":
        from mobilesam.export.any_labeling import export_any_labeling

        files += export_any_labeling(output, SAM_DECODER_FILE, sam.config.name, outputs)
    sizes = "\n".join(f"{file}: {file.stat().st_size / 1e6:.1f} MB" for file in files)
    options.say({"files": [str(file) for file in files]}, f"{sizes}\nonnxruntime and torch agree", as_json)


def _any_labeling_size(image_size: int | None) -> int:
    """The image size that X-AnyLabeling needs.

    Raises:
        SettingsError: another one was asked for.
    """
    from mobilesam.errors import SettingsError
    from mobilesam.export.any_labeling import IMAGE_SIZE

    if image_size not in (None, IMAGE_SIZE):
        raise SettingsError(f"X-AnyLabeling feeds {IMAGE_SIZE} px; leave --image-size {image_size} out")
    return IMAGE_SIZE
