"""Unique names for result files: one per photo, so that no result overwrites another."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mobilesam.temporaries import shorten

MAX_PARENTS = 3  # how many parent folders a name may include
MAX_LENGTH = 120  # longest name with folders or a checksum in it, in bytes
MAX_STEM = (
    220  # longest stem of a photo that becomes a name, in bytes; of the 255 of file systems, an ending takes some
)


def output_names(
    photos: Sequence[str | os.PathLike[str]],
    *,
    folders: Sequence[str] | None = None,
    taken: Collection[str] = (),
    owner: Callable[[str], str | None] | None = None,
) -> list[str]:
    """Choose a unique result name for each photo.

    A photo is named by its stem. Where several would get one name, all of them are named by more: the extension, then
    the folders above, at last a checksum of the whole path. So a name depends on which photos there are and never on
    their order. Names that differ only in case count as equal, because on many file systems they are. A photo that is
    given twice gets one name.

    Args:
        photos: paths.
        folders: for each photo, the folder of its results, relative, with slashes; "" for none. Its name begins with
            it.
        taken: names that no photo may get.
        owner: name → the absolute path of the photo whose results lie under it already, or None where that is unknown;
            asked for names in `taken` only. A photo keeps the name it has.

    Returns:
        A name for each, in order. Takes time linear in the number of photos.
    """
    paths = [absolute(photo) for photo in photos]
    places = dict(zip(paths, folders or [""] * len(paths), strict=True))
    names: dict[str, str] = {}  # absolute path → name
    used = {fold(name) for name in taken}
    if owner is not None and used:
        for path in dict.fromkeys(paths):
            own = next((n for n in candidates(path, places[path]) if fold(n) in used and owner(n) == path), None)
            if own is not None:
                names[path] = own
    left = {path: candidates(path, places[path]) for path in paths if path not in names}
    while left:
        proposals = {path: next(more) for path, more in left.items()}
        keys = {path: fold(name) for path, name in proposals.items()}
        counts = Counter(keys.values())
        new = {path: key for path, key in keys.items() if counts[key] == 1 and key not in used}
        names |= {path: proposals[path] for path in new}
        used.update(new.values())
        left = {path: more for path, more in left.items() if path not in new}
    return [names[path] for path in paths]


def candidates(path: str, place: str = "") -> Iterator[str]:
    """Candidate names for the photo at an absolute path, in a folder, each more specific than the one before."""
    return (f"{place}/{name}" for name in _file_names(path)) if place else _file_names(path)


def _file_names(path: str) -> Iterator[str]:
    folder, file = os.path.split(path)
    stem, suffix = os.path.splitext(file)
    name = f"{stem}_{suffix[1:]}" if len(suffix) > 1 else stem
    for short in (stem, name):
        if len(os.fsencode(short)) <= MAX_STEM:
            yield short
    for _ in range(MAX_PARENTS):
        folder, parent = os.path.split(folder)
        name = f"{parent}_{name}"
        if not parent or len(os.fsencode(name)) > MAX_LENGTH:
            break
        yield name
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    for length in (8, 16, 64):
        yield f"{shorten(stem, MAX_LENGTH - length - 1)}_{digest[:length]}"


def absolute(photo: str | os.PathLike[str]) -> str:
    """The absolute path of a photo, without following links; a URL stays unchanged."""
    text = os.fspath(photo)
    return text if "://" in text else os.path.abspath(text)


def relative(photo: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """The path of a photo as seen from a folder, with slashes; absolute if it lies on another drive."""
    path = absolute(photo)
    with suppress(ValueError):  # on another drive
        path = os.path.relpath(path, absolute(folder))
    return Path(path).as_posix()


def short_paths(photos: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The shortest path of each photo that no other one ends in too, with slashes: where names are unique, the name.

    A photo that is given twice has one. They do not depend on the order.
    """
    parts = {path: Path(path).as_posix().split("/") for path in map(absolute, photos)}
    depths = dict.fromkeys(parts, 1)
    while True:
        short = {path: "/".join(parts[path][-depth:]) for path, depth in depths.items()}
        counts = Counter(short.values())
        alike = [path for path in depths if counts[short[path]] > 1 and depths[path] < len(parts[path])]
        if not alike:
            return [short[absolute(photo)] for photo in photos]
        depths |= {path: depths[path] + 1 for path in alike}


def fold(name: str) -> str:
    """Normalise case and accents, so that names that some file systems treat as the same file become equal."""
    if name.isascii():
        return name.lower()
    import unicodedata  # rarely needed, and slow to import

    return unicodedata.normalize("NFC", name).casefold()
