"""Opening of photos named on the command line, and the exit code when some of them fail."""

from __future__ import annotations

import math
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mobilesam.errors import SettingsError
from mobilesam.outputs import Outputs

if TYPE_CHECKING:
    from mobilesam.image import Rgb

STDIN = "-"
MOST_NAMED = 20  # problems that are printed; the run's folder lists all


@dataclass(frozen=True)
class Opening:
    """Options for opening photos: a limit of pixels, and the range of values of deep photos."""

    max_pixels: int | None = None
    value_range: tuple[float, float] | None = None

    @classmethod
    def parse(cls, max_pixels: int | None, value_range: str | None) -> Opening:
        """An `Opening` from the values of --max-pixels and --range."""
        return cls(max_pixels, None if value_range is None else parse_range(value_range))

    @property
    def limit(self) -> int:
        """The value of --max-pixels, or its default."""
        from mobilesam.image import MAX_PIXELS

        return self.max_pixels or MAX_PIXELS

    def open(self, path: Path | str) -> Rgb:
        """Open a photo; "-" reads it from standard input.

        Raises:
            ImageError: it cannot be opened.
        """
        from mobilesam.errors import ImageError
        from mobilesam.image import open_photo

        # Read only now, so that mistakes in other arguments are reported without waiting for the pipe.
        photo: Path | str | bytes = path
        if str(path) == STDIN:
            if sys.stdin is None:  # as the shell's `<&-` leaves it
                raise ImageError("standard input is closed; give a photo in place of -")
            photo = sys.stdin.buffer.read()
        return open_photo(photo, max_pixels=self.limit, value_range=self.value_range)


def source_name(photo: Path | str) -> str:
    """The path of a photo, or what stands for it where it comes from standard input."""
    return "stdin" if str(photo) == STDIN else str(photo)


def about(photo: Path | str, error: Exception) -> str:
    """The message of an error, with the photo in front unless it names it."""
    what = error.strerror if isinstance(error, OSError) and error.filename is None and error.strerror else str(error)
    name = source_name(photo)
    return what if name in what else f"'{name}': {what}"


def rule_beside(photos: Iterable[Path | str], *, overwrite: bool = False) -> Outputs:
    """The rule for a command that reads these photos; "-" is the file that standard input comes from, if it is one."""
    paths = list(photos)
    rule = Outputs.beside((path for path in paths if str(path) != STDIN), overwrite=overwrite)
    if STDIN not in map(str, paths) or (key := _of_stdin()) is None:
        return rule
    return replace(rule, inputs=rule.inputs | {key}, names={**rule.names, key: "standard input"})


def _of_stdin() -> tuple[int, int] | None:
    """Device and inode of the file that standard input comes from; None where it is none, such as a pipe."""
    try:
        state = os.fstat(sys.stdin.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or replaced by an object that is no file
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None


def parse_range(text: str) -> tuple[float, float]:
    """The value of --range, "LOW,HIGH", as two numbers."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:  # not numbers, or not two of them
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise typer.BadParameter(f"--range takes LOW,HIGH, two numbers, the lower first, found '{text}'")
    return low, high


def check_recursive(photos: list[str], recursive: bool) -> None:
    """Refuse --recursive where no input is a folder: patterns with ** search subfolders by themselves."""
    if recursive and not any(Path(photo).is_dir() for photo in photos):
        raise SettingsError("--recursive does nothing here: none of the inputs is a folder")


def name_left_out(problems: Sequence[str]) -> None:
    """Name on standard error what a finished run could not use, count it, and exit with code 1 if it is anything."""
    if not problems:
        return
    for problem in problems[:MOST_NAMED]:
        typer.echo(f"problem: {problem}", err=True)
    more = len(problems) - MOST_NAMED
    if more > 0:
        typer.echo(f"problem: ... and {more} more", err=True)
    typer.echo(f"{len(problems)} photos could not be used; the others were", err=True)
    raise typer.Exit(1)


def count_failures(failed: int, total: int) -> None:
    """Exit with code 1 if a photo failed, and print how many failed if there were several."""
    # For a single photo the error itself was printed already; a count would add nothing.
    if failed and total > 1:
        typer.echo(f"{failed} of {total} photos failed", err=True)
    if failed:
        raise typer.Exit(1)
