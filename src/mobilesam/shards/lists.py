"""Lists of photos: text files with a path, an address or a shell pattern in each line."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from mobilesam.data.files import FileRef
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem
from mobilesam.errors import DataError
from mobilesam.remote import is_lost, is_remote, matching
from mobilesam.shards.cells import beside
from mobilesam.text import decode_text

NO_MATCH = "no photo matches this line of the list"


def read_list(path: Path | str, dataset: str) -> Iterator[Item]:
    """The photos that a list names, in its order; a line that matches none is a problem.

    Args:
        path: of the list, or its address in an object store; its lines are relative to where it is.
        dataset: name of the data set.

    Raises:
        DataError: it is no text.
        OSError: a store does not answer.
    """
    for line in _lines(path):
        names = list(_named(line, path))
        if not names:
            yield Problem(PhotoId(dataset, line), NO_MATCH)
        for name in names:
            yield PhotoRef(PhotoId(dataset, name), FileRef(beside(path, name)), None)


def _named(line: str, path: Path | str) -> Iterator[str]:
    """The photos of one line, as it names them; a name that holds the characters of patterns comes before a pattern."""
    whole = beside(path, line)
    if not is_remote(whole):
        name = Path(line).as_posix()
        is_pattern = glob.has_magic(line) and not Path(whole).exists()
        yield from map(_slashed, sorted(glob.glob(line, root_dir=Path(path).parent))) if is_pattern else [name]
    elif is_remote(line):
        yield from matching(whole)
    else:
        start = len(whole) - len(line)  # names stay relative to the list
        yield from (found[start:] for found in matching(whole))


def _slashed(name: str) -> str:
    return Path(name).as_posix()


def _lines(path: Path | str) -> Iterator[str]:
    try:
        text = decode_text(FileRef(str(path)).read())
    except (DataError, OSError) as error:
        if is_lost(error):
            raise
        raise DataError(f"the list '{path}' cannot be read: {error}") from error
    yield from (line.strip() for line in text.splitlines() if line.strip())
