"""`mobilesam export`: convert a checkpoint to the files that a runtime or a client opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mobilesam import choices
from mobilesam.cli import options
from mobilesam.extras import require

Calibration = Annotated[
    list[str] | None,
    typer.Option(
        help="Photos or folders to compare masks on, and to calibrate int8 on; repeatable. Default: two examples."
    ),
]


def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint, a folder, hf://OWNER/NAME, or a model's name.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")],
    form: Annotated[
        choices.ExportFormat,
        typer.Option("--format", help="The runtime or client; docs/export.md says which fits which device."),
    ] = "onnx",
    precision: Annotated[
        choices.StoredPrecision | None,
        typer.Option(help="Number format of the weights in the files; default: the format's first."),
    ] = None,
    calibration: Calibration = None,
    force: Annotated[bool, typer.Option("--force", help="Keep files whose masks agree too little.")] = False,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the weights, for the metadata. Default: what the source says.")
    ] = None,
    image_size: options.ImageSize = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    layout: Annotated[str | None, options.moved("--layout", "--format (x-anylabeling: anylabeling)")] = None,
    fp16_storage: Annotated[bool, options.moved("--fp16-storage", "--precision float16")] = False,
) -> None:
    """Convert a model, and check in its own runtime that it makes the masks of the network."""
    from mobilesam.image import find_photos
    from mobilesam.weights import check_named, find_checkpoint

    # What is missing is said before the extra is asked for, which takes long to install, and before a download.
    check_named(checkpoint)
    photos = tuple(find_photos(calibration or []))
    require("torch", "torch", "exporting")
    from mobilesam.export.draft import Check
    from mobilesam.export.formats import export_as
    from mobilesam.model import checkpoint as checkpoints
    from mobilesam.outputs import Outputs
    from mobilesam.predict.load import licence_of

    source = find_checkpoint(checkpoint)
    outputs = Outputs.beside(source.iterdir() if source.is_dir() else [source], overwrite=overwrite)
    files = export_as(
        checkpoints.load(source),
        output,
        form,
        licence=licence or licence_of(checkpoint, source),
        precision=precision,
        image_size=image_size,
        outputs=outputs,
        check=Check(photos, force),
    )
    sizes = [f"{file}: {_size(file) / 1e6:.1f} MB" for file in files]
    card = json.loads((output / "model.json").read_text(encoding="utf-8"))
    record = {
        "files": [str(file) for file in files],
        **{key: card[key] for key in ("precision", "masks") if key in card},
    }
    options.say(record, "\n".join([*sizes, _verdict(card)]), as_json)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _verdict(card: dict[str, object]) -> str:
    """What was compared, in a sentence."""
    masks = card.get("masks")
    if not isinstance(masks, dict):
        return "the files agree with torch" if card.get("verified") else "the files could not be run here"
    return (
        f"mask IoU with float32: {masks['iou']:.4f}, 5th percentile {masks['iou_p5']:.4f} "
        f"({masks['num_masks']} masks on {masks['photos']} photos)"
    )
