"""`mobilesam segment`: photos and one prompt → masks, pictures or run lengths."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mobilesam.cli import options
from mobilesam.errors import ImageError, PromptError
from mobilesam.names import absolute, output_names

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask, Prediction

Box = tuple[float, float, float, float]
FEW_PHOTOS = 10  # up to here, opening the model quickly saves more than optimising its graphs


@dataclass(frozen=True)
class Prompt:
    """What the user points at, in pixels of the photo."""

    points: list[tuple[float, float]]
    labels: list[int]
    box: Box | None


@dataclass(frozen=True)
class Target:
    """Which files are to be written, and where."""

    output: Path | None
    kinds: list[str]
    """ "mask", "overlay", "cutout", "json" """
    photos: frozenset[str]
    """Absolute paths of the photos, which no result may overwrite."""

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
    photos: Annotated[list[str], typer.Argument(help="Photos, or folders of photos.")],
    point: Annotated[
        list[str] | None, typer.Option("--point", "-p", help="X,Y on the object, or X,Y,0 off it; repeatable.")
    ] = None,
    box: Annotated[str | None, typer.Option("--box", "-b", help="X0,Y0,X1,Y1 around the object.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file for one photo, else a folder; .json for run lengths.")
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
    as_json: options.AsJson = False,
) -> None:
    """Segment the object that points or a box mean, in each photo.

    Writes a mask (PNG, 255 on the object) unless --overlay, --cutout or a .json output asks for something else; what is
    asked for besides a .json output is written beside it.
    """
    prompt = parse_prompt(point or [], box)
    looks = options.parse_zoom(zoom)
    is_json = output is not None and output.suffix == ".json"
    wanted = (("overlay", overlay), ("cutout", cutout), ("json", is_json))
    kinds = [kind for kind, is_wanted in wanted if is_wanted] or ["mask"]

    from mobilesam.image import find_photos

    paths = list(find_photos(photos))
    target = Target(output, kinds, frozenset(absolute(path) for path in paths))
    if len(paths) > 1 and output is not None and output.suffix:
        raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")
    if output is not None and any(Path(path) == output for path in paths):
        raise typer.BadParameter(f"--output '{output}' would overwrite the photo")

    from mobilesam.predict.load import load

    is_short = len(paths) <= FEW_PHOTOS
    sam = load(
        model,
        backend=backend,
        device=device,
        quick_start=is_short,
        precision=precision,
        image_size=image_size,
    )
    failed = False
    for path, name in with_progress(list(zip(paths, output_names(paths), strict=True))):
        try:
            found = sam.embed(path).predict(
                points=prompt.points or None,
                labels=prompt.labels or None,
                box=prompt.box,
                multimask=True if all_masks else None,
                zoom=looks,
            )
            kept = list(found) if all_masks else [found.best]
            report(str(path), sam.info.name, kept, write(found, kept, path, name, prompt, target), as_json)
        except (ImageError, PromptError, OSError) as error:
            if len(paths) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            failed = True
    if failed:
        raise typer.Exit(1)


def parse_prompt(points: list[str], box: str | None) -> Prompt:
    """Texts of the command line → numbers; whether they fit the photo is for the library to say."""
    if not points and not box:
        raise typer.BadParameter("say what to segment: --point X,Y or --box X0,Y0,X1,Y1")
    rows = [parse_numbers(t, 3 if t.count(",") == 2 else 2, "--point", "X,Y or X,Y,0") for t in points]
    labels = [int(row[2]) if len(row) == 3 else 1 for row in rows]
    corners = cast("Box", tuple(parse_numbers(box, 4, "--box", "X0,Y0,X1,Y1"))) if box else None
    return Prompt([(row[0], row[1]) for row in rows], labels, corners)


def parse_numbers(text: str, count: int, option: str, form: str) -> list[float]:
    """`count` numbers between commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
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
    for kind in target.kinds:
        is_shared = kind in ("json", "overlay")
        paths = target.numbered(name, kind, 1 if is_shared else len(kept))
        if kind == "json":
            record = {"photo": str(photo), "masks": [mask.to_dict() for mask in kept]}
            written.shared.append(save_json(record, paths[0]))
        elif kind == "overlay":
            from mobilesam.draw import overlay

            assert found.photo is not None  # it was just opened
            arrays = [mask.array for mask in kept]
            picture = overlay(found.photo, arrays, points=prompt.points, labels=prompt.labels, box=prompt.box)
            written.shared.append(save_picture(picture, paths[0]))
        else:
            for mask, files, path in zip(kept, written.own, paths, strict=True):
                files.append(save_picture(mask.cutout() if kind == "cutout" else mask.array, path))
    return written


def report(photo: str, model: str, kept: list[Mask], written: Written, as_json: bool) -> None:
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
        typer.echo(f"{', '.join(files) or f'mask {i}'}: {about}")
    if not any(mask.area for mask in kept):
        typer.echo("the mask is empty; try another point, a box, or --all", err=True)
