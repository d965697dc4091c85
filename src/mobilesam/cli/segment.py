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
from mobilesam.cli.photos import expand, output_names
from mobilesam.errors import ImageError, PromptError

if TYPE_CHECKING:
    from mobilesam.predict.backend import Precision
    from mobilesam.predict.load import BackendName
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
class Wish:
    """What is to be written, and where."""

    output: Path | None
    kinds: list[str]
    """ "mask", "overlay", "cutout" """
    all_masks: bool

    def target(self, name: str, kind: str) -> Path:
        """Where one picture goes: the named file, or NAME_KIND.png in the named or the current folder."""
        if self.output is not None and self.output.suffix:
            return self.output.with_stem(f"{self.output.stem}_{kind}") if len(self.kinds) > 1 else self.output
        folder = self.output or Path()
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}_{kind}.png"


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

    Writes a mask (PNG, 255 on the object) unless --overlay, --cutout or a .json output asks for something else.
    """
    prompt = parse_prompt(point or [], box)
    looks = options.parse_zoom(zoom)
    kinds = [kind for kind, wanted in (("overlay", overlay), ("cutout", cutout)) if wanted] or ["mask"]
    wish = Wish(output, kinds, all_masks)
    paths = list(expand(photos))
    if len(paths) > 1 and output is not None and output.suffix:
        raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")
    if output is not None and any(Path(path) == output for path in paths):
        raise typer.BadParameter(f"--output '{output}' would overwrite the photo")

    from mobilesam.predict.load import load

    is_short = len(paths) <= FEW_PHOTOS
    sam = load(
        model,
        backend=cast("BackendName", backend),
        device=device,
        quick_start=is_short,
        precision=cast("Precision", precision),
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
            report(str(path), sam.info.name, kept, write(found, kept, path, name, prompt, wish), as_json)
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


def write(found: Prediction, kept: list[Mask], photo: Path | str, name: str, prompt: Prompt, wish: Wish) -> list[Path]:
    """Write what was wished for one photo; returns the files."""
    if wish.output is not None and wish.output.suffix == ".json":
        return [write_json(kept, str(photo), wish.output)]
    files = []
    for kind in wish.kinds:
        target = wish.target(name, kind)
        if kind == "overlay":
            files.append(save_picture(draw(found, kept, prompt), target))
            continue
        for i, mask in enumerate(kept, 1):
            numbered = target.with_stem(f"{target.stem}_{i}") if len(kept) > 1 else target
            if kind == "cutout":
                save_picture(mask.cutout(), numbered)
            else:
                mask.save(numbered)
            files.append(numbered)
    return files


def draw(found: Prediction, kept: list[Mask], prompt: Prompt) -> Any:
    """The photo with masks and prompt, as a PIL image."""
    from PIL import Image

    from mobilesam.draw import overlay

    assert found.photo is not None
    masks = [mask.array for mask in kept]
    return Image.fromarray(
        overlay(found.photo, masks, points=prompt.points, labels=prompt.labels, box=prompt.box),
    )


def save_picture(picture: Any, target: Path) -> Path:
    """Write a PIL image, in the format its name asks for."""
    from mobilesam.files import replacing

    with replacing(target) as partial:
        try:
            picture.save(partial)
        except (ValueError, OSError) as error:
            raise ImageError(f"cannot write '{target}' as '{target.suffix}' ({error}); use .png") from error
    return target


def write_json(kept: list[Mask], photo: str, target: Path) -> Path:
    """Write the masks as run lengths."""
    from mobilesam.files import replacing

    with replacing(target) as partial:
        record = {"photo": photo, "masks": [mask.to_dict() for mask in kept]}
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return target


def report(photo: str, model: str, kept: list[Mask], files: list[Path], as_json: bool) -> None:
    """Say what was found and what was written."""
    names = [str(file) for file in files]
    if as_json:
        record = {"photo": photo, "model": model, "masks": [mask.to_dict() for mask in kept], "files": names}
        typer.echo(json.dumps(record))
        return
    for mask in kept:
        share = 100 * mask.area / mask.array.size
        about = f"score {mask.score:.2f}, {mask.area} px, {share:.1f} % of the photo, box {mask.box_xyxy}"
        typer.echo(f"{', '.join(names)}: {about}")
    if not any(mask.area for mask in kept):
        typer.echo("the mask is empty; try another point, a box, or --all", err=True)
