"""`mobilesam track`: follow objects through a video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import click
import typer

from mobilesam.choices import TrackForm
from mobilesam.cli import options
from mobilesam.cli.photos import Opening
from mobilesam.cli.segment import parse_prompt
from mobilesam.text import counted

if TYPE_CHECKING:
    from mobilesam.tracking.folder import TrackResult
    from mobilesam.tracking.results import TrackedFrame
    from mobilesam.tracking.settings import ObjectPrompt


def track(
    video: Annotated[str, typer.Argument(help="A video file, or a folder of frames.")],
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            "-p",
            help="X,Y on an object; repeatable, one object each. Several points of one: 'X,Y;X,Y;X,Y,0' (0: off it).",
        ),
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option("--box", "-b", help="X0,Y0,X1,Y1 around an object; repeatable, one object each.")
    ] = None,
    frame: Annotated[
        int, typer.Option("--frame", "-f", min=0, help="Frame that the prompts belong to, from 0; it starts there.")
    ] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("track"),
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            "-w",
            click_type=click.Choice(get_args(TrackForm)),
            help="What is written; repeatable. Default: indexed, overlay.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of docs/track.md, such as lost_below=0.4; repeatable."),
    ] = None,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
) -> None:
    """Follow objects of one frame through a video, and say where they are lost.

    Objects are numbered in the order given, those of --box before those of --point.
    """
    objects, opening = parse_objects(point or [], box or []), Opening.parse(max_pixels, value_range)

    from mobilesam.predict.load import load
    from mobilesam.tracking.folder import DEFAULT_FORMS, track_video
    from mobilesam.tracking.settings import TrackSettings

    settings = options.read_settings(TrackSettings, {}, overrides)
    sam = load(model, backend=backend, device=device, precision=precision, image_size=image_size)
    result = track_video(
        sam,
        video,
        output,
        objects=objects,
        frame=frame,
        settings=settings,
        forms=forms or DEFAULT_FORMS,
        max_pixels=opening.limit,
        value_range=opening.value_range,
        overwrite=overwrite,
        on_frame=print_frame if as_json else None,
        show_progress=not as_json and sys.stderr.isatty(),
    )
    print_result(result, as_json)


def parse_objects(points: list[str], boxes: list[str]) -> list[ObjectPrompt]:
    """Parse --box and --point, one object each; whether they lie in the frame is checked later, by the library."""
    prompts = [parse_prompt([], text) for text in boxes] + [parse_prompt(text.split(";"), None) for text in points]
    if not prompts:
        raise typer.BadParameter("say what to follow: --point X,Y or --box X0,Y0,X1,Y1")

    from mobilesam.tracking.settings import ObjectPrompt

    return [ObjectPrompt(one.points or None, one.labels or None, one.box) for one in prompts]


def print_frame(frame: TrackedFrame) -> None:
    """Print one line of JSON about a frame."""
    objects = [
        {"id": one.id, "lost": one.is_lost, "agreement": round(one.agreement, 4), **one.mask.to_dict()}
        for one in frame.objects
    ]
    options.say({"frame": frame.index, "name": frame.name, "objects": objects}, "", as_json=True)


def print_result(result: TrackResult, as_json: bool) -> None:
    """Print what was written, and where objects were lost."""
    files = [str(file) for file in result.files]
    lost = {str(id): [list(span) for span in spans] for id, spans in result.lost.items()}
    record = {"video": result.name, "num_frames": result.num_frames, "files": files, "lost": lost}
    options.say(record, f"{result.name}: {counted(result.num_frames, 'frame')}: {', '.join(files)}", as_json)
    if as_json:
        return
    for id, spans in result.lost.items():
        if spans:
            where = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)
            noun = "frames" if "," in where or "-" in where else "frame"
            typer.echo(f"object {id} is lost in {noun} {where}", err=True)
