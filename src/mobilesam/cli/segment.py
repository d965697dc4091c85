"""`mobilesam segment`: photos and one prompt → masks, pictures or run lengths."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mobilesam.cli import options
from mobilesam.cli.photos import STDIN, Opening, count_failures
from mobilesam.errors import ImageError, PromptError
from mobilesam.names import absolute, output_names

if TYPE_CHECKING:
    from mobilesam.predict.predictor import Predictor
    from mobilesam.predict.results import Mask, Prediction
    from mobilesam.predict.zoom import Zoom

Box = tuple[float, float, float, float]
FEW_PHOTOS = 10  # up to here, opening the model quickly saves more than optimising its graphs


@dataclass(frozen=True)
class Prompt:
    """What the user points at, in pixels of the photo."""

    points: list[tuple[float, float]]
    labels: list[int]
    box: Box | None


@dataclass(frozen=True)
class Question:
    """What is asked of each photo."""

    prompt: Prompt
    all_masks: bool
    zoom: Zoom


@dataclass(frozen=True)
class Target:
    """Which files are to be written, and where."""

    output: Path | None
    kinds: list[str]
    """ "mask", "overlay", "cutout", "json"; none where JSON on standard output leaves no room for a picture there"""
    photos: frozenset[str]
    """Absolute paths of the photos, which no result may overwrite."""

    @property
    def is_stdout(self) -> bool:
        """Whether a picture goes to standard output."""
        return str(self.output) == STDIN

    def path(self, name: str, kind: str) -> Path:
        """Where one file goes: the named file, or NAME_KIND.png beside it, in the named or in the current folder."""
        if self.output is not None and self.output.suffix:
            path = self.output if len(self.kinds) == 1 else self.output.with_stem(f"{self.output.stem}_{kind}")
            if self.output.suffix == ".json":
                path = self.output if kind == "json" else path.with_suffix(".png")
        else:
            folder = self.output or Path()
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}_{kind}.png"
        return path

    def numbered(self, name: str, kind: str, count: int) -> list[Path]:
        """Where a file for each of `count` masks goes: numbered, if there is more than one.

        Raises:
            ImageError: there is one of the photos.
        """
        path = self.path(name, kind)
        paths = [path.with_stem(f"{path.stem}_{i}") for i in range(1, count + 1)] if count > 1 else [path]
        for path in paths:
            if absolute(path) in self.photos:
                raise ImageError(f"the {kind} would overwrite the photo '{path}'; give another --output")
        return paths


@dataclass(frozen=True)
class Written:
    """The files of one photo."""

    shared: list[Path]
    """Files with all its masks."""
    own: list[list[Path]]
    """Files of each mask alone."""


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
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the photo with the mask tinted in.")] = False,
    cutout: Annotated[bool, typer.Option("--cutout", help="Write the object alone on a transparent ground.")] = False,
    all_masks: Annotated[bool, typer.Option("--all", help="Keep all three masks, not the best alone.")] = False,
    zoom: options.ZoomName = "auto",
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    precision: options.PrecisionName = "float32",
    image_size: options.ImageSize = None,
    device: options.Device = "cpu",
    recursive: options.Recursive = False,
    max_pixels: options.MaxPixels = None,
    value_range: options.Range = None,
    as_json: options.AsJson = False,
) -> None:
    """Segment the object that points or a box mean, in each photo.

    Writes a mask (PNG, 255 on the object) unless --overlay, --cutout or a .json output asks for something else; what is
    asked for besides a .json output is written beside it.
    """
    question = Question(parse_prompt(point or [], box), all_masks, options.parse_zoom(zoom))
    opening = Opening.parse(max_pixels, value_range)

    from mobilesam.image import find_photos

    paths = list(find_photos(photos, recursive=recursive))
    target = Target(output, kinds_of(output, overlay, cutout, as_json), frozenset(absolute(path) for path in paths))
    check_output(output, paths)

    from mobilesam.predict.load import load

    sam = load(
        model,
        backend=backend,
        device=device,
        quick_start=len(paths) <= FEW_PHOTOS,
        precision=precision,
        image_size=image_size,
    )
    count_failures(segment_all(sam, paths, opening, question, target, as_json), len(paths))


def kinds_of(output: Path | None, overlay: bool, cutout: bool, as_json: bool) -> list[str]:
    """What the options ask for."""
    if as_json and str(output) == STDIN:
        return []
    is_json = output is not None and output.suffix == ".json"
    wanted = (("overlay", overlay), ("cutout", cutout), ("json", is_json))
    return [kind for kind, is_wanted in wanted if is_wanted] or ["mask"]


def check_output(output: Path | None, paths: list[Path | str]) -> None:
    """Refuse an output that several photos would share, or that is a photo itself."""
    if output is None:
        return
    if len(paths) > 1 and (output.suffix or str(output) == STDIN):
        raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")
    if str(output) != STDIN and any(Path(path) == output for path in paths):
        raise typer.BadParameter(f"--output '{output}' would overwrite the photo")


def segment_all(
    sam: Predictor, paths: list[Path | str], opening: Opening, question: Question, target: Target, as_json: bool
) -> int:
    """Do every photo; returns how many of several failed. A photo alone raises its error."""
    names = output_names(["stdin" if str(path) == STDIN else path for path in paths])
    prompt, failed = question.prompt, 0
    for path, name in with_progress(list(zip(paths, names, strict=True))):
        try:
            found = sam.embed(opening.open(path)).predict(
                points=prompt.points or None,
                labels=prompt.labels or None,
                box=prompt.box,
                multimask=True if question.all_masks else None,
                zoom=question.zoom,
            )
            kept = list(found) if question.all_masks else [found.best]
            written = write(found, kept, path, name, prompt, target)
            report(str(path), sam.info.name, kept, written, as_json, target)
        except (ImageError, PromptError, OSError) as error:
            if len(paths) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            failed += 1
    return failed


def parse_prompt(points: list[str], box: str | None) -> Prompt:
    """Texts of the command line → numbers; whether they fit the photo is for the library to say."""
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
    """`count` finite numbers between commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{option} takes {form}, found '{text}'")
    return numbers


def with_progress(items: list[tuple[Path | str, str]]) -> Iterator[tuple[Path | str, str]]:
    """A bar where there is someone to see it and something to wait for."""
    if len(items) < 4 or not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, unit="photo")


def write(found: Prediction, kept: list[Mask], photo: Path | str, name: str, prompt: Prompt, target: Target) -> Written:
    """Write what was asked for of one photo."""
    from mobilesam.files import save_json, save_picture

    written = Written([], [[] for _ in kept])
    if target.is_stdout:
        send(found, kept, prompt, target)
        return written
    for kind in target.kinds:
        is_shared = kind in ("json", "overlay")
        paths = target.numbered(name, kind, 1 if is_shared else len(kept))
        if kind == "json":
            record = {"photo": str(photo), "masks": [mask.to_dict() for mask in kept]}
            written.shared.append(save_json(record, paths[0]))
        elif kind == "overlay":
            written.shared.append(save_picture(draw(found, kept, prompt), paths[0]))
        else:
            for mask, files, path in zip(kept, written.own, paths, strict=True):
                files.append(save_picture(mask.cutout() if kind == "cutout" else mask.array, path))
    return written


def send(found: Prediction, kept: list[Mask], prompt: Prompt, target: Target) -> None:
    """Write one picture, as PNG, to standard output; none where JSON goes there.

    Raises:
        PromptError: more than one is asked for.
    """
    from mobilesam.files import to_picture

    if len(kept) * len(target.kinds) > 1:
        raise PromptError("--output - takes one picture: one of mask, --overlay, --cutout, and not --all")
    for kind in target.kinds:
        if kind == "overlay":
            picture = draw(found, kept, prompt)
        else:
            picture = kept[0].cutout() if kind == "cutout" else kept[0].array
        to_picture(picture).save(sys.stdout.buffer, "PNG")
        sys.stdout.buffer.flush()


def draw(found: Prediction, kept: list[Mask], prompt: Prompt) -> Any:
    """The photo with masks and prompt, (H, W, 3)."""
    from mobilesam.draw import overlay

    assert found.photo is not None  # it was just opened
    arrays = [mask.array for mask in kept]
    return overlay(found.photo, arrays, points=prompt.points, labels=prompt.labels, box=prompt.box)


def report(photo: str, model: str, kept: list[Mask], written: Written, as_json: bool, target: Target) -> None:
    """Say what was found and what was written: a line for each mask, after one for the files of all."""
    shared = [str(file) for file in written.shared]
    own = [[str(file) for file in files] for files in written.own]
    if as_json:
        files = [*shared, *(file for files in own for file in files)]
        typer.echo(
            json.dumps({"photo": photo, "model": model, "masks": [mask.to_dict() for mask in kept], "files": files})
        )
        return
    if len(kept) == 1:  # one line says it all
        shared, own = [], [[*shared, *own[0]]]
    if shared:
        typer.echo(f"{', '.join(shared)}: {len(kept)} masks")
    for i, (mask, files) in enumerate(zip(kept, own, strict=True), 1):
        share = 100 * mask.area / mask.array.size
        about = f"score {mask.score:.2f}, {mask.area} px, {share:.1f} % of the photo, box {mask.box_xyxy}"
        name = ", ".join(files) or (photo if target.is_stdout else f"mask {i}")
        typer.echo(f"{name}: {about}", err=target.is_stdout)
    if not any(mask.area for mask in kept):
        typer.echo("the mask is empty; try another point, a box, or --all", err=True)
