"""Which photos a verb was given, how they are opened, and what its results are called."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mobilesam.errors import ImageError

if TYPE_CHECKING:
    from mobilesam.image import Rgb

STDIN = "-"


def expand(photos: Sequence[str], *, recursive: bool = False) -> Iterator[Path | str]:
    """Folders and patterns become their photos; everything else stays, so that a missing file gets its own error.

    Hidden files are no photos. With `recursive`, folders inside folders are searched too.
    """
    from mobilesam.image import SUFFIXES, is_photo_name

    for text in photos:
        path = Path(text)
        if "://" in text:
            yield text
        elif path.is_dir() or (glob.has_magic(text) and not path.exists()):
            candidates = _inside(path, recursive) if path.is_dir() else map(Path, glob.glob(text, recursive=True))
            inside = sorted(p for p in candidates if is_photo_name(p.name))
            if not inside:
                raise ImageError(f"'{path}' holds no photos ({', '.join(sorted(SUFFIXES))})")
            yield from inside
        else:
            yield path


def _inside(folder: Path, recursive: bool) -> Iterator[Path]:
    """What lies in a folder; hidden folders are not entered, nor links to folders."""
    for name, folders, files in os.walk(folder):
        yield from (Path(name) / file for file in files)
        folders[:] = [f for f in folders if not f.startswith(".")] if recursive else []


@dataclass(frozen=True)
class Opening:
    """How a verb opens its photos."""

    max_pixels: int | None = None
    value_range: tuple[float, float] | None = None

    @classmethod
    def parse(cls, max_pixels: int | None, value_range: str | None) -> Opening:
        """The texts of --max-pixels and --range."""
        return cls(max_pixels, None if value_range is None else parse_range(value_range))

    def open(self, path: Path | str) -> Rgb:
        """A photo, or what comes through standard input for "-".

        Raises:
            ImageError: it cannot be opened.
        """
        from mobilesam.image import MAX_PIXELS, open_photo

        photo = sys.stdin.buffer.read() if str(path) == STDIN else path
        return open_photo(photo, max_pixels=self.max_pixels or MAX_PIXELS, value_range=self.value_range)


def parse_range(text: str) -> tuple[float, float]:
    """What --range means in Python."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--range takes LOW,HIGH, found '{text}'") from None
    return low, high


def count_failures(failed: int, total: int) -> None:
    """Say how many photos failed where there were several, and end with exit code 1 if any did."""
    if failed and total > 1:
        typer.echo(f"{failed} of {total} photos failed", err=True)
    if failed:
        raise typer.Exit(1)


def output_names(paths: Sequence[Path | str]) -> list[str]:
    """The photos' stems, numbered where two photos share one, so that no result overwrites another."""
    stems = [Path(path).stem for path in paths]
    return [stem if stems.count(stem) == 1 else f"{stem}_{i}" for i, stem in enumerate(stems, 1)]
