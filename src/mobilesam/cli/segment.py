"""`mobilesam segment`: segment the object at a prompt, in one or many photos."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import click
import typer

from mobilesam.choices import AnnotationForm, zoom_of
from mobilesam.cli import options
from mobilesam.cli.annotations import Annotations
from mobilesam.cli.earlier import result_names
from mobilesam.cli.photos import Opening, about, check_recursive, count_failures, rule_beside, source_name
from mobilesam.cli.results import Box, Prompt, Target, check_output, kinds_of, report, write
from mobilesam.errors import MobileSamError, SettingsError
from mobilesam.names import output_names

if TYPE_CHECKING:
    from mobilesam.predict.predictor import Predictor
    from mobilesam.predict.zoom import Zoom

FEW_PHOTOS = 10  # up to this number, opening the model quickly saves more time than optimising its graphs


@dataclass(frozen=True)
class Question:
    """The prompt and the options of prediction, the same for each photo."""

    prompt: Prompt
    all_masks: bool
    zoom: Zoom


def segment(
    photos: Annotated[list[str], typer.Argument(help="Photos, or folders of photos; - is standard input.")],
    point: Annotated[
        list[str] | None, typer.Option("--point", "-p", help="X,Y on the object, or X,Y,0 off it; repeatable.")
    ] = None,
    box: Annotated[str | None, typer.Option("--box", "-b", help="X0,Y0,X1,Y1 around the object.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file for one photo, else a folder; .json for run lengths; - is standard output."
        ),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the photo with the mask tinted.")] = False,
    cutout: Annotated[bool, typer.Option("--cutout", help="Write the object on a transparent background.")] = False,
    all_masks: Annotated[
        bool, typer.Option("--all", help="Keep all three masks, in the model's order, not only the best.")
    ] = False,
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            "-w",
            click_type=click.Choice(get_args(AnnotationForm)),
            help="A file for an annotation tool, in the folder --output; repeatable.",
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The object's class in the files of --write. Default: object.")
    ] = None,
    zoom: options.ZoomName = "auto",
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
    """Segment the object at the given points or box, in each photo.

    Writes a mask (PNG, 255 on the object) unless --overlay, --cutout, --write or a .json output asks for something
    else; pictures requested together with a .json output are written beside it.
    """
    # Everything that can be wrong with the arguments is checked before the model is loaded, which takes the longest.
    question = Question(parse_prompt(point or [], box), all_masks, zoom_of(zoom))
    opening = Opening.parse(max_pixels, value_range)
    check_recursive(photos, recursive)
    if label is not None and not forms:
        raise typer.BadParameter("--label does nothing without --write: masks have no class")

    from mobilesam.image import locate_photos

    found = list(locate_photos(photos, recursive=recursive))
    rule = rule_beside((path for path, _ in found), overwrite=overwrite)
    target = Target(output, kinds_of(output, overlay, cutout, as_json, annotated=bool(forms)), rule)
    annotations = Annotations.parse(cast("list[AnnotationForm]", forms or []), output, label or "object", rule)
    check_output(output, [path for path, _ in found], rule)

    from mobilesam.predict.load import load

    sam = load(
        model,
        backend=backend,
        device=device,
        quick_start=len(found) <= FEW_PHOTOS,
        precision=precision,
        image_size=image_size,
    )
    failed = segment_all(sam, found, opening, question, target, annotations, as_json)
    for file in annotations.finish():
        options.say({"file": str(file)}, f"wrote {file}", as_json)
    count_failures(failed, len(found))


def segment_all(
    sam: Predictor,
    located: Sequence[tuple[Path | str, str]],
    opening: Opening,
    question: Question,
    target: Target,
    annotations: Annotations,
    as_json: bool,
) -> int:
    """Segment every photo; returns how many failed. With a single photo, its error is raised instead."""
    from mobilesam.image import within_memory

    paths = [path for path, _ in located]
    names, prompt, failed = choose_names(located, target, annotations), question.prompt, 0
    for path, name in with_progress(list(zip(paths, names, strict=True))):
        try:
            with within_memory(f"'{path}'"):
                found = sam.embed(opening.open(path)).predict(
                    points=prompt.points or None,
                    labels=prompt.labels or None,
                    box=prompt.box,
                    multimask=True if question.all_masks else None,  # None: three masks only for a single point
                    zoom=question.zoom,
                )
                kept = list(found) if question.all_masks else [found.best]
                written = write(found, kept, path, name, prompt, target)
                written.shared.extend(annotations.add(source_name(path), name, kept, found.original_hw))
        except (MobileSamError, OSError) as error:
            # One bad photo must not stop a long run. A single photo raises, so that `main` picks the exit code by the
            # kind of error: 2 for a wrong prompt, 1 for a photo that cannot be read. Settings are not a photo's.
            if len(paths) == 1 or isinstance(error, SettingsError):
                raise
            typer.echo(f"error: {about(path, error)}", err=True)
            failed += 1
        else:
            # Outside the block above: a closed pipe is no fault of this photo, and ends the run.
            report(str(path), sam.info.name, kept, written, as_json, target)
    return failed


def choose_names(located: Sequence[tuple[Path | str, str]], target: Target, annotations: Annotations) -> list[str]:
    """A name for the results of each photo; see `result_names`."""
    given, subfolders = [source_name(path) for path, _ in located], [subfolder for _, subfolder in located]
    if target.folder is None:  # all files have the name that --output gives
        return output_names(given, folders=subfolders)
    return result_names(given, subfolders, target.folder, has_records="labelme" in annotations.forms)


def parse_prompt(points: list[str], box: str | None) -> Prompt:
    """Parse --point and --box; whether they lie in the photo is checked later, by the library."""
    if not points and not box:
        raise typer.BadParameter("say what to segment: --point X,Y or --box X0,Y0,X1,Y1")
    rows = [parse_numbers(t, 3 if t.count(",") == 2 else 2, "--point", "X,Y or X,Y,0") for t in points]
    for text, row in zip(points, rows, strict=True):
        if len(row) == 3 and row[2] not in (0, 1):
            raise typer.BadParameter(f"--point takes X,Y,1 on the object or X,Y,0 off it, found '{text}'")
    labels = [int(row[2]) if len(row) == 3 else 1 for row in rows]
    corners = cast("Box", tuple(parse_numbers(box, 4, "--box", "X0,Y0,X1,Y1"))) if box else None
    return Prompt([(row[0], row[1]) for row in rows], labels, corners)


def parse_numbers(text: str, count: int, option: str, form: str) -> list[float]:
    """Parse `count` finite numbers separated by commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{option} takes {form}, found '{text}'")
    return numbers


def with_progress(items: list[tuple[Path | str, str]]) -> Iterator[tuple[Path | str, str]]:
    """The items, with a progress bar if there are at least 4 of them and standard error is a terminal."""
    if len(items) < 4 or not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, unit="photo")
