"""The photos that a run could not use, as lines of a file in its folder: those of the survey, and those found damaged.

Every process appends to the file, since a photo may be found damaged by any of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mobilesam.data.photo import Problem
from mobilesam.errors import DataError
from mobilesam.files import save_text
from mobilesam.outputs import ALL
from mobilesam.text import parse_json

LEFT_OUT_FILE = "left_out.jsonl"
PROBLEM = "problem"
STEP = "step"


def begin(output: Path, *, is_resumed: bool) -> None:
    """Prepare the file for a run that starts: what the survey skips is written anew, since photos may be mended.

    Args:
        output: the run's folder.
        is_resumed: keep the photos that were found damaged in the steps before.
    """
    path = output / LEFT_OUT_FILE
    kept = [line for line in _lines(path) if STEP in line] if is_resumed else []
    if kept:
        save_text("".join(json.dumps(line) + "\n" for line in kept), path, ALL)
    else:
        path.unlink(missing_ok=True)


class LeftOut:
    """Writer of the file of one run, in one of its processes.

    Args:
        output: the run's folder.
    """

    def __init__(self, output: Path) -> None:
        self.path = output / LEFT_OUT_FILE
        self.seen: set[str] = set()

    def survey(self, problems: Iterable[Problem]) -> None:
        """Add the photos that the survey skipped."""
        self._write({PROBLEM: f"{problem.id}: {problem.reason}"} for problem in problems)

    def add(self, items: Iterable[str], step: int) -> None:
        """Add the photos that were found damaged while a batch was made; each is written once.

        Args:
            items: `left_out` of each item of the batch: a line for each photo, "" for none.
            step: the step of the batch.
        """
        new = [text for item in items for text in item.splitlines() if text not in self.seen]
        self.seen.update(new)
        self._write({PROBLEM: text, STEP: step} for text in dict.fromkeys(new))

    def _write(self, lines: Iterable[dict[str, str | int]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        if text:
            with self.path.open("a", encoding="utf-8") as file:  # one write, which other processes do not split
                file.write(text)


def read_left_out(output: Path) -> list[str]:
    """A text for each photo that a run could not use, with its name and the reason; in the order they were found."""
    return list(dict.fromkeys(str(line[PROBLEM]) for line in _lines(output / LEFT_OUT_FILE)))


def _lines(path: Path) -> list[dict[str, str | int]]:
    """The lines of the file; those that a kill cut off are left out."""
    if not path.exists():
        return []
    found = []
    for text in path.read_bytes().splitlines():
        try:
            line = parse_json(text)
        except DataError:
            continue
        if isinstance(line, dict) and PROBLEM in line:
            found.append(line)
    return found
