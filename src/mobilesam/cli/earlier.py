"""Names for the results of `mobilesam segment`, such that those of another photo in an earlier run are not replaced."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mobilesam.errors import DataError
from mobilesam.names import absolute, candidates, fold, output_names, relative
from mobilesam.outputs import is_ours, is_picture_of_ours

PICTURE = re.compile(r"(.+)_(?:mask|overlay|cutout)(?:_\d+)?\.png", re.DOTALL)
RECORD = re.compile(r"(.+)\.json", re.DOTALL)


def result_names(
    photos: Sequence[Path | str], subfolders: Sequence[str], folder: Path, *, has_records: bool
) -> list[str]:
    """A name for the results of each photo that no result of another photo has, neither in this run nor in the folder.

    Args:
        photos: their paths.
        subfolders: of the results of each photo; "" for none.
        folder: of all results.
        has_records: whether NAME.json is among the results.
    """
    places = dict(zip(map(absolute, photos), subfolders, strict=True))
    wanted = {fold(name) for path, place in places.items() for name in candidates(path, place)}
    files = {name: ours for name, ours in _files(folder, set(subfolders), has_records) if fold(name) in wanted}
    # Only now, since to look into a file takes time, and a folder may hold very many.
    files = {name: kept for name, ours in files.items() if (kept := list(filter(_is_result, ours)))}
    known = {(place, source_of(path, folder / place)): path for path, place in places.items()}

    def owner(name: str) -> str | None:
        sources = {read_source(path) for path in files.get(name, ())}
        return known.get((name.rpartition("/")[0], sources.pop())) if len(sources) == 1 else None

    return output_names(photos, folders=subfolders, taken=files.keys(), owner=owner)


def _files(folder: Path, subfolders: Collection[str], has_records: bool) -> Iterator[tuple[str, list[Path]]]:
    """Names with the files that may be results under them."""
    for place in subfolders:
        names: dict[str, list[Path]] = defaultdict(list)
        for file in _listed(folder / place):
            found = PICTURE.fullmatch(file) or (RECORD.fullmatch(file) if has_records else None)
            if found:
                names[f"{place}/{found[1]}" if place else found[1]].append(folder / place / file)
        yield from names.items()


def _is_result(path: Path) -> bool:
    return is_ours(path) if path.suffix == ".json" else is_picture_of_ours(path)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def source_of(photo: Path | str, folder: Path) -> str:
    """How a result names its photo: by the path as seen from the folder of the result."""
    from mobilesam.text import encodable

    return encodable(relative(photo, folder))


def read_source(result: Path) -> str:
    """The photo that a picture or a record of LabelMe names; "" where it names none."""
    from mobilesam.files import read_source as from_picture
    from mobilesam.text import parse_json

    if result.suffix != ".json":
        return from_picture(result)
    try:
        return str(parse_json(result.read_bytes())["imagePath"])
    except (OSError, DataError, KeyError, TypeError):
        return ""
