"""`mobilesam annotate`: masks for data sets of any size, on one core, one machine or a cluster."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mobilesam import choices
from mobilesam.cli import options
from mobilesam.cli.groups import RunByDefault
from mobilesam.cli.photos import Opening
from mobilesam.cli.shards import RunFolder, tell, tell_status, told, unless_stopped

annotate_app = typer.Typer(
    cls=RunByDefault,
    help="Masks for data sets of any size, in shards that resume: run, status. INPUT... alone means run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@annotate_app.command("run")
def run_annotate(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Folders, .tar shards, COCO .json, .txt or .parquet lists.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; a second start continues it.")],
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="COCO detections or Parquet with a bbox or a point per record.")
    ] = None,
    own_boxes: Annotated[
        bool, typer.Option("--own-boxes", help="Prompt with the boxes that COCO and SA-1B inputs have.")
    ] = False,
    form: Annotated[
        choices.ShardForm, typer.Option("--write", "-w", help="sa1b: tars with photos; parquet: a row per mask.")
    ] = "sa1b",
    results: options.Results = "",
    coco: Annotated[bool, typer.Option("--coco", help="Also merge all masks into instances.json at the end.")] = False,
    images: Annotated[
        str | None, typer.Option(metavar="PATH", help="Folder of the photos of COCO files, or an address as s3://...")
    ] = None,
    shard_photos: Annotated[int, typer.Option(min=1, help="Most photos in a shard.")] = 256,
    engine: Annotated[choices.Engine, typer.Option("--engine", help="What runs the workers.")] = "local",
    workers: options.Workers = None,
    threads: options.WorkerThreads = None,
    address: options.RayAddress = None,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    zoom: options.ZoomName = "auto",
    zoom_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Regions of second looks in a call; default: what is fastest with the backend."),
    ] = None,
    unclear_frame: options.UnclearFrame = "upright",
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    search: options.Search = None,
    as_json: options.AsJson = False,
) -> None:
    """Find masks for every photo of the inputs; only what is missing is done when it is repeated."""
    from mobilesam.annotate.job import ModelChoice
    from mobilesam.annotate.run import annotate
    from mobilesam.annotate.settings import AnnotateSettings
    from mobilesam.everything.settings import EverythingSettings
    from mobilesam.shards.run import Running

    asks, opening = prompts is not None or own_boxes, Opening.parse(max_pixels, value_range)
    check_options(asks, prompts is not None and own_boxes, zoom != "auto" or zoom_batch is not None, search)
    settings = AnnotateSettings(
        prompts="given" if asks else "everything",
        form=form,
        shard_photos=shard_photos,
        zoom=choices.zoom_of(zoom),
        zoom_batch=zoom_batch or 0,
        max_pixels=opening.limit,
        value_range=opening.value_range,
        unclear_frame=unclear_frame,
        everything=options.read_settings(EverythingSettings, {}, search),
    )
    choice = ModelChoice(
        model=str(Path(model).absolute()) if Path(model).exists() else model,
        backend=backend,
        precision=precision,
        image_size=image_size,
        device=device,
    )
    running = Running(engine=engine, workers=workers, threads=threads, address=address, **told(as_json))
    run = partial(
        annotate,
        inputs,
        output,
        choice=choice,
        settings=settings,
        prompts=prompts,
        photos=images,
        coco=coco,
        results=results,
        running=running,
    )
    tell(unless_stopped(run), as_json)


def check_options(asks: bool, both: bool, has_zoom: bool, search: list[str] | None) -> None:
    """Refuse options that would do nothing.

    Raises:
        SettingsError: names the option.
    """
    from mobilesam.errors import SettingsError

    if both:
        raise SettingsError("--prompts and --own-boxes are two sources of prompts; give one")
    if asks and search:
        raise SettingsError("--set changes the search for all masks; with prompts there is none")
    if not asks and has_zoom:
        raise SettingsError("--zoom and --zoom-batch are for prompts; give --prompts or --own-boxes, or leave them out")


@annotate_app.command()
def status(output: RunFolder, as_json: options.AsJson = False) -> None:
    """Say how far a run is, from its folder alone."""
    tell_status(output, as_json)
