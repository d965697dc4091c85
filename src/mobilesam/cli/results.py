"""The files and lines that `mobilesam segment` writes for each photo."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mobilesam.cli.photos import STDIN, source_name
from mobilesam.errors import PromptError
from mobilesam.outputs import Outputs, identity
from mobilesam.text import counted

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask, Prediction

Box = tuple[float, float, float, float]
PICTURES = ".png .jpg .jpeg .jfif .tif .tiff .webp .bmp .gif .avif .jp2 .ppm .pgm .pnm .tga .pdf .ico"
FORMATS = frozenset([".json", *PICTURES.split()])
"""Suffixes of --output that mean a file; any other name is a folder."""


@dataclass(frozen=True)
class Prompt:
    """The points, labels and box of the command line, in pixels of the photo."""

    points: list[tuple[float, float]]
    labels: list[int]
    box: Box | None


@dataclass(frozen=True)
class Target:
    """The kinds of files to write, and where they go."""

    output: Path | None
    kinds: list[str]
    """Some of "mask", "overlay", "cutout", "json"; empty if standard output is taken by the JSON of `--json`."""
    rule: Outputs
    """The rule for what may be replaced."""

    @property
    def is_stdout(self) -> bool:
        """Whether the picture goes to standard output."""
        return str(self.output) == STDIN

    @property
    def folder(self) -> Path | None:
        """The folder of files that are named by their photos; None where --output names the file."""
        is_one = self.is_stdout or (self.output is not None and is_file_name(self.output))
        return None if is_one else self.output or Path()

    def path(self, name: str, kind: str) -> Path:
        """Path of one file: --output itself if that names a file, else NAME_KIND.png in that or the current folder."""
        from mobilesam.files import make_folder

        if self.output is not None and self.folder is None:
            path = self.output if len(self.kinds) == 1 else self.output.with_stem(f"{self.output.stem}_{kind}")
            # With a .json output, the other kinds are pictures of the same stem, so they need a suffix of their own.
            if self.output.suffix == ".json":
                path = self.output if kind == "json" else path.with_suffix(".png")
        else:
            path = (self.folder or Path()) / f"{name}_{kind}.png"
        make_folder(path.parent)
        return path

    def numbered(self, name: str, kind: str, count: int) -> list[Path]:
        """Paths of one kind of file for `count` masks, numbered from 1 if there are several.

        Raises:
            OutputError: a path is that of a photo, or of a file of somebody else.
        """
        path = self.path(name, kind)
        paths = [path.with_stem(f"{path.stem}_{i}") for i in range(1, count + 1)] if count > 1 else [path]
        for path in paths:
            self.rule.check(path)
        return paths


@dataclass(frozen=True)
class Written:
    """The files written for one photo."""

    shared: list[Path]
    """Files that show all masks."""
    own: list[list[Path]]
    """For each mask, the files that show only that mask."""


def kinds_of(output: Path | None, overlay: bool, cutout: bool, as_json: bool, *, annotated: bool = False) -> list[str]:
    """The kinds of files that the options ask for; a mask by default, unless annotation files are written."""
    # `--json` and `-o -` both write to standard output, and a program that reads JSON there cannot take a PNG as well.
    if as_json and str(output) == STDIN:
        return []
    is_json = output is not None and output.suffix == ".json"
    wanted = (("overlay", overlay), ("cutout", cutout), ("json", is_json))
    return [kind for kind, is_wanted in wanted if is_wanted] or ([] if annotated else ["mask"])


def is_file_name(output: Path) -> bool:
    """Whether --output names a file and not a folder, neither of which needs to exist yet."""
    # By the suffix, if it is one of a format: a folder may be called run.2 too.
    return output.suffix.lower() in FORMATS and not output.is_dir()


def check_output(output: Path | None, paths: Sequence[Path | str], rule: Outputs) -> None:
    """Refuse an output file that several photos would share, or that must not be replaced.

    Raises:
        OutputError: it is one of the photos, or a file of somebody else.
    """
    if output is None or str(output) == STDIN:
        if output is not None and len(paths) > 1:
            raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")
        return
    if not is_file_name(output):
        return
    if len(paths) > 1:
        raise typer.BadParameter(f"{len(paths)} photos need a folder for --output, not '{output}'")
    if identity(output) in rule.inputs:
        raise typer.BadParameter(f"--output '{output}' would overwrite the photo")


def write(found: Prediction, kept: list[Mask], photo: Path | str, name: str, prompt: Prompt, target: Target) -> Written:
    """Write the files of one photo, or its picture to standard output."""
    from mobilesam.cli.earlier import source_of
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
            written.shared.append(save_json(record, paths[0], target.rule))
        elif kind == "overlay":
            source = source_of(source_name(photo), paths[0].parent)
            picture = draw(found, kept, prompt)
            written.shared.append(save_picture(picture, paths[0], outputs=target.rule, source=source))
        else:
            for mask, files, path in zip(kept, written.own, paths, strict=True):
                picture = mask.cutout() if kind == "cutout" else mask.array
                source = source_of(source_name(photo), path.parent)
                files.append(save_picture(picture, path, outputs=target.rule, source=source))
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
        typer.echo(f"{', '.join(shared)}: {counted(len(kept), 'mask')}")
    for i, (mask, files) in enumerate(zip(kept, own, strict=True), 1):
        share = 100 * mask.area / mask.array.size
        about = f"score {mask.score:.2f}, {mask.area} px, {share:.1f} % of the photo, box {mask.box_xyxy}"
        name = ", ".join(files) or (photo if target.is_stdout else f"mask {i}")
        typer.echo(f"{name}: {about}", err=target.is_stdout)  # text must not be mixed into a PNG on standard output
    if not any(mask.area for mask in kept):
        typer.echo("the mask is empty; try another point, a box, or --all", err=True)
