"""Pairing of photos with the files of their annotations, by file names that are equal but for the suffix.

A stem is a file name without its suffix. Only equal stems pair: `a.b.png` is no annotation of `a.jpg`. Where a stem has
several photos, one is used and the others are problems, by the same rule in a folder and in a tar.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mobilesam.data.files import FileRef
from mobilesam.data.photo import MALFORMED, Item, PhotoId, PhotoRef, Problem
from mobilesam.data.truths import RecordTruth
from mobilesam.image import is_photo_name
from mobilesam.outputs import is_picture_of_ours
from mobilesam.text import parse_json

NO_PHOTO = "an annotation without a photo of its name"
SECOND = "another photo has this name with another suffix and is used instead; rename one of them, or take it out"
SEVERAL = "several label pictures have its name and differ only in the suffix; keep the one of its mask"
JPEG = (".jpg", ".jpeg")


def stem_of(name: str) -> str:
    """A file name, or a path with "/", without its suffix."""
    return name.rpartition(".")[0]


def photo_order(name: str) -> tuple[bool, str]:
    """Sort key of photos of one stem, of which the first is used: JPEG (.jpg, .jpeg), then the others by name."""
    return not name.lower().endswith(JPEG), name


class FolderPictures:
    """The pictures of folders by their stems; each folder is listed once, however many photos ask for it."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def pictures(self, folder: Path, stem: str) -> list[Path]:
        """Pictures of the folder with that stem, in `photo_order`."""
        if folder not in self._listed:
            self._listed[folder] = by_stem(filter(is_photo_name, list_files(folder)))
        return [folder / name for name in sorted(self._listed[folder].get(stem, ()), key=photo_order)]


def list_files(folder: Path) -> list[str]:
    """Names of the files of a folder that are not hidden, sorted; empty where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names, or paths with "/", by what precedes their suffix."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[stem_of(name)].append(name)
    return dict(groups)


def first_photos(photos: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Photos in the order given, and whether each is the one of its folder and stem that is used."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for photo in photos:
        groups[photo.with_suffix("")].append(photo)
    for photo in photos:
        yield photo, photo == min(groups[photo.with_suffix("")], key=lambda one: photo_order(one.name))


def index_folder(folder: Path) -> tuple[dict[str, FileRef], dict[str, FileRef]]:
    """The photos of a folder by their names, and its .json records by their stems.

    Pictures that this package wrote are results and not photos, unless they have a record.
    """
    names = list_files(folder)
    records = {name.removesuffix(".json"): FileRef(str(folder / name)) for name in names if name.endswith(".json")}
    photos = {
        name: FileRef(str(folder / name))
        for name in names
        if is_photo_name(name) and (stem_of(name) in records or not is_picture_of_ours(folder / name))
    }
    return photos, records


def has_records(folder: Path) -> bool:
    """Whether a folder holds a photo beside a .json file of the same stem."""
    names = list_files(folder)
    stems = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    return any(stem_of(name) in stems for name in names if is_photo_name(name))


def pair_records(dataset: str, photos: Mapping[str, FileRef], records: Mapping[str, FileRef]) -> Iterator[Item]:
    """Photos of the SA-1B schema or LabelMe, each with its record where there is one.

    Of several photos of one stem the one that the record names is used, or else the first by `photo_order`.

    Args:
        dataset: the data set's name.
        photos: path with its suffix → file, in the order in which they are listed.
        records: path without its suffix → the .json file.

    Yields:
        The photos, then a problem for each other photo of their stems and for each record without a photo.
    """
    others: list[str] = []
    groups = by_stem(photos)
    for stem, names in groups.items():
        record = records.get(stem)
        used = choose_photo(names, record)
        others += [name for name in names if name != used]
        yield PhotoRef(PhotoId(dataset, stem), photos[used], None if record is None else RecordTruth(record))
    yield from (Problem(PhotoId(dataset, name), SECOND) for name in others)
    yield from (Problem(PhotoId(dataset, stem), NO_PHOTO) for stem in records if stem not in groups)


def choose_photo(names: Sequence[str], record: FileRef | None) -> str:
    """The photo of a stem that is used; the record is read only if there are several photos."""
    if len(names) == 1:
        return names[0]
    named = "" if record is None else photo_of(record)
    ordered = sorted(names, key=photo_order)
    return next((name for name in ordered if name.rpartition("/")[2] == named), ordered[0])


def photo_of(record: FileRef) -> str:
    """The file name, without its folder, that a record gives its photo; empty where it gives none or is malformed."""
    try:
        content = parse_json(record.read())
        path = content["image"]["file_name"] if "image" in content else content["imagePath"]
        return str(path).replace("\\", "/").rpartition("/")[2]
    except (*MALFORMED, OSError):
        return ""
