"""`mobilesam everything`: find all masks of each photo, without prompts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import click
import typer

from mobilesam.choices import MOST_WORKERS, DenseWhere, Form
from mobilesam.cli import options
from mobilesam.cli.photos import about, check_recursive, count_failures, parse_range
from mobilesam.text import counted

if TYPE_CHECKING:
    from mobilesam.everything.folder import PhotoResult


def everything(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, or quoted patterns.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("everything"),
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            "-w",
            click_type=click.Choice(get_args(Form)),
            help="What is written; repeatable. Default: labels, overlay.",
        ),
    ] = None,
    points_per_side: Annotated[
        int | None, typer.Option(help="The grid has this many points along each side. Default: 32.")
    ] = None,
    pred_iou_thresh: Annotated[float | None, typer.Option(help="Drop masks scored lower; default by model.")] = None,
    stability_score_thresh: Annotated[float | None, typer.Option(help="Drop less stable masks.")] = None,
    box_nms_thresh: Annotated[
        float | None, typer.Option(help="NMS: of two masks whose boxes have a higher IoU, drop one. Default: 0.7.")
    ] = None,
    crop_n_layers: Annotated[
        int | None, typer.Option(help="Also search 4 crops (1), or 4 and 16 (2): finds smaller objects.")
    ] = None,
    min_mask_region_area: Annotated[int | None, typer.Option(help="Remove holes and islands of fewer pixels.")] = None,
    coarse: Annotated[
        int | None, typer.Option(help="Try a grid this many times coarser first; 2 takes half the time.")
    ] = None,
    dense_where: Annotated[
        DenseWhere | None,
        typer.Option(help="Use the full grid near small masks (default), or where the coarse grid found no mask."),
    ] = None,
    refine: Annotated[
        bool | None, typer.Option("--refine", help="Prompt again at the innermost pixel of each mask.")
    ] = None,
    overrides: options.Search = None,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Number of photos processed in parallel.")] = 1,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    recursive: options.Recursive = False,
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Find all masks of each photo. A finished photo is skipped when the command is repeated."""
    from mobilesam.everything.folder import segment_folder
    from mobilesam.everything.settings import EverythingSettings
    from mobilesam.image import MAX_PIXELS
    from mobilesam.predict.load import load

    check_recursive(photos, recursive)
    shown = None if value_range is None else parse_range(value_range)
    # None means "option not used", so that a default stands in one place, EverythingSettings, and --set may set it.
    given = {
        "points_per_side": points_per_side,
        "pred_iou_thresh": pred_iou_thresh,
        "stability_score_thresh": stability_score_thresh,
        "box_nms_thresh": box_nms_thresh,
        "crop_n_layers": crop_n_layers,
        "min_mask_region_area": min_mask_region_area,
        "coarse_factor": coarse,
        "dense_where": dense_where,
        "refine": refine,
    }
    settings = options.read_settings(EverythingSettings, given, overrides)
    sam = load(
        model,
        backend=backend,
        device=device,
        threads=1 if workers > 1 else None,  # photos in parallel already use all cores; more threads would compete
        precision=precision,
        image_size=image_size,
    )
    result = segment_folder(
        sam,
        photos,
        output,
        settings=settings,
        forms=forms or ("labels", "overlay"),
        workers=workers,
        recursive=recursive,
        max_pixels=max_pixels or MAX_PIXELS,
        value_range=shown,
        overwrite=overwrite,
        on_result=lambda photo: print_result(photo, as_json),
        show_progress=not as_json and sys.stderr.isatty(),  # no bars in logs and pipes
    )
    for form, file in result.joint.items():
        options.say({form: str(file)}, f"wrote {file}", as_json)
    count_failures(len(result.failed), len(result.photos))


def print_result(result: PhotoResult, as_json: bool) -> None:
    """Print one line about a finished, skipped or failed photo."""
    # An error is only printed here; the exit code is set once all photos are done, in `count_failures`.
    if result.error is not None:
        typer.echo(f"error: {about(result.photo, result.error)}", err=True)
        return
    files = [str(file) for file in result.files]
    if result.skipped:
        record: dict[str, object] = {"skipped": True, "files": files}
        text = "finished before, skipped"
    else:
        record = {"num_masks": result.num_masks, "files": files}
        text = f"{counted(result.num_masks or 0, 'mask')}: {', '.join(files)}"
    options.say({"photo": result.photo, **record}, f"{result.photo}: {text}", as_json)
