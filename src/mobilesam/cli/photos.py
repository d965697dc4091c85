"""How a verb opens its photos, and how it counts those that failed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from mobilesam.image import Rgb

STDIN = "-"


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
