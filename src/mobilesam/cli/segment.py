"""`mobilesam segment`: segment the object at a prompt, in one or many photos."""

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
FEW_PHOTOS = 10  # up to this number, opening the model quickly saves more time than optimising its graphs


@dataclass(frozen=True)
class Prompt:
    """The points, labels and box of the command line, in pixels of the photo."""

    points: list[tuple[float, float]]
    labels: list[int]
    box: Box | None


@dataclass(frozen=True)
class Question:
    """The prompt and the options of prediction, the same for each photo."""

    prompt: Prompt
    all_masks: bool
    zoom: Zoom


@dataclass(frozen=True)
class Target:
    """The kinds of files to write, and where they go."""

    output: Path | None
    kinds: list[str]
    """Some of "mask", "overlay", "cutout", "json"; empty if standard output is taken by the JSON of `--json`."""
    photos: frozenset[str]
    """Absolute paths of the photos, which no result may overwrite."""

    @property
    def is_stdout(self) -> bool:
        """Whether the picture goes to standard output."""
        return str(self.output) == STDIN

    def path(self, name: str, kind: str) -> Path:
        """Path of one file: --output itself if that names a file, else NAME_KIND.png in that or the current folder."""
        # A folder and a file are told apart by the suffix, because neither needs to exist yet.
        if self.output is not None and self.output.suffix:
            path = self.output if len(self.kinds) == 1 else self.output.with_stem(f"{self.output.stem}_{kind}")
            # With a .json output, the other kinds are pictures of the same stem, so they need a suffix of their own.
            if self.output.suffix == ".json":
                path = self.output if kind == "json" else path.with_suffix(".png")
        else:
            folder = self.output or Path()
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}_{kind}.png"
        return path

    def numbered(self, name: str, kind: str, count: int) -> list[Path]:
        """Paths of one kind of file for `count` masks, numbered from 1 if there are several.

        Raises:
            ImageError: a path is that of one of the photos.
        """
        path = self.path(name, kind)
        paths = [path.with_stem(f"{path.stem}_{i}") for i in range(1, count + 1)] if count > 1 else [path]
        for path in paths:
            if absolute(path) in self.photos:
                raise ImageError(f"the {kind} would overwrite the photo '{path}'; give another --output")
        return paths


@dataclass(frozen=True)
class Written:
    """The files written for one photo."""

    shared: list[Path]
    """Files that show all masks."""
    own: list[list[Path]]
    """For each mask, the files that show only that mask."""


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
    all_masks: Annotated[bool, typer.Option("--all", help="Keep all three masks, not only the best.")] = False,
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
    """Segment the object at the given points or box, in each photo.

    Writes a mask (PNG, 255 on the object) unless --overlay, --cutout or a .json output asks for something else;
    pictures requested together with a .json output are written beside it.
    """
    # Everything that can be wrong with the arguments is checked before the model is loaded, which takes the longest.
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
    """The kinds of files that the options ask for; a mask by default."""
    # `--json` and `-o -` both write to standard output, and a program that reads JSON there cannot take a PNG as well.
    if as_json and str(output) == STDIN:
        return []
    is_json = output is not None and output.suffix == ".json"
    wanted = (("overlay", overlay), ("cutout", cutout), ("json", is_json))
    return [kind for kind, is_wanted in wanted if is_wanted] or ["mask"]


def check_output(output: Path | None, paths: list[Path | str]) -> None:
    """Refuse an output file that several photos would share, or that is itself one of the photos."""
    if output is None:
        return
    if len(paths) > 1 and (output.suffix or str(output) == STDIN):
        raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")
    if str(output) != STDIN and any(Path(path) == output for path in paths):
        raise typer.BadParameter(f"--output '{output}' would overwrite the photo")


def segment_all(
    sam: Predictor, paths: list[Path | str], opening: Opening, question: Question, target: Target, as_json: bool
) -> int:
    """Segment every photo; returns how many failed. With a single photo, its error is raised instead."""
    # Made for all photos at once: two photos of the same stem in different folders must not get the same output names.
    names = output_names(["stdin" if str(path) == STDIN else path for path in paths])
    prompt, failed = question.prompt, 0
    for path, name in with_progress(list(zip(paths, names, strict=True))):
        try:
            found = sam.embed(opening.open(path)).predict(
                points=prompt.points or None,
                labels=prompt.labels or None,
                box=prompt.box,
                multimask=True if question.all_masks else None,  # None: three masks only for a single point
                zoom=question.zoom,
            )
            kept = list(found) if question.all_masks else [found.best]
            written = write(found, kept, path, name, prompt, target)
            report(str(path), sam.info.name, kept, written, as_json, target)
        except (ImageError, PromptError, OSError) as error:
            # One bad photo must not stop a long run. A single photo raises, so that `main` picks the exit code by the
            # kind of error: 2 for a wrong prompt, 1 for a photo that cannot be read.
            if len(paths) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            failed += 1
    return failed


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


def write(found: Prediction, kept: list[Mask], photo: Path | str, name: str, prompt: Prompt, target: Target) -> Written:
    """Write the files of one photo, or its picture to standard output."""
    from mobilesam.files import save_json, save_picture

    written = Written([], [[] for _ in kept])
    if target.is_stdout:
        send(found, kept, prompt, target)
        return written
    for kind in target.kinds:
        # JSON and overlay show all masks together; masks and cutouts are one file per mask.
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
    """Write one picture as PNG to standard output, or nothing if `--json` writes there.

    Raises:
        PromptError: there is more than one picture.
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
    """The photo with its masks tinted and the prompt drawn, (H, W, 3)."""
    from mobilesam.draw import overlay

    assert found.photo is not None  # only embeddings loaded from a file have no photo
    arrays = [mask.array for mask in kept]
    return overlay(found.photo, arrays, points=prompt.points, labels=prompt.labels, box=prompt.box)


def report(photo: str, model: str, kept: list[Mask], written: Written, as_json: bool, target: Target) -> None:
    """Print the masks and files of one photo: a line per mask, after a line for the files with all masks."""
    shared = [str(file) for file in written.shared]
    own = [[str(file) for file in files] for files in written.own]
    if as_json:
        files = [*shared, *(file for files in own for file in files)]
        typer.echo(
            json.dumps({"photo": photo, "model": model, "masks": [mask.to_dict() for mask in kept], "files": files})
        )
        return
    if len(kept) == 1:  # one mask: all files fit into its line
        shared, own = [], [[*shared, *own[0]]]
    if shared:
        typer.echo(f"{', '.join(shared)}: {len(kept)} masks")
    for i, (mask, files) in enumerate(zip(kept, own, strict=True), 1):
        share = 100 * mask.area / mask.array.size
        about = f"score {mask.score:.2f}, {mask.area} px, {share:.1f} % of the photo, box {mask.box_xyxy}"
        name = ", ".join(files) or (photo if target.is_stdout else f"mask {i}")
        typer.echo(f"{name}: {about}", err=target.is_stdout)  # text must not be mixed into a PNG on standard output
    if not any(mask.area for mask in kept):
        typer.echo("the mask is empty; try another point, a box, or --all", err=True)
