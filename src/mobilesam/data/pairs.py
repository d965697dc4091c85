"""Pairing of photos with the files of their annotations, by file names that are equal but for the suffix.

A stem is a file name without its suffix. Only equal stems pair: `a.b.png` is no annotation of `a.jpg`. Where a stem has
several photos, one is used and the others are problems, by the same rule in a folder and in a tar.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mobilesam.data.files import FileRef
from mobilesam.data.photo import MALFORMED, Item, PhotoId, PhotoRef, Problem
from mobilesam.data.truths import RecordTruth
from mobilesam.errors import DataError
from mobilesam.folders import walk
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


def is_record_name(name: str) -> bool:
    """Whether a file of that name is a record: .json, in upper or lower case."""
    return name.lower().endswith(".json")


def check_layout(path: Path) -> None:
    """Refuse a path that cannot be a data set, as far as its name tells.

    Raises:
        DataError: it is no shard, no COCO file and no folder.
    """
    if not (path.suffix.lower() == ".tar" or is_record_name(path.name) or path.is_dir()):
        raise DataError(f"'{path}' is no data set: expected a .tar shard, a COCO .json or a folder")


def photo_order(name: str) -> tuple[bool, str]:
    """Sort key of photos of one stem, of which the first is used: JPEG (.jpg, .jpeg), then the others by name."""
    return not name.lower().endswith(JPEG), name


class FolderFiles:
    """The files of one kind in a folder and its subfolders, by their paths without suffixes; listed once."""

    def __init__(self, folder: Path, wanted: Callable[[str], bool], ending: str = "") -> None:
        """List them.

        Args:
            folder: the folder.
            wanted: says by the name of a file whether it is of this kind.
            ending: what their stems end with beyond those that are asked for.
        """
        self.folder, self.ending = folder, ending
        found = ((Path(here).relative_to(folder), name) for here, _, files in walk(folder) for name in files)
        paths = ((here / name).as_posix() for here, name in found if wanted(name))
        self._stems = by_stem(path for path in paths if stem_of(path).endswith(ending))

    def find(self, stem: str) -> list[Path]:
        """The files of a stem, a relative path with "/", in `photo_order`."""
        return self._paths(self._stems.get(stem + self.ending, ()))

    def take(self, stem: str) -> list[Path]:
        """As `find`; these files are then no longer in `left`."""
        return self._paths(self._stems.pop(stem + self.ending, ()))

    def left(self) -> Iterator[str]:
        """Relative paths of the files that were not taken, with "/"."""
        return (name for names in self._stems.values() for name in names)

    def _paths(self, names: Iterable[str]) -> list[Path]:
        return [self.folder / name for name in sorted(names, key=photo_order)]


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
    records = {stem_of(name): FileRef(str(folder / name)) for name in names if is_record_name(name)}
    photos = {
        name: FileRef(str(folder / name))
        for name in names
        if is_photo_name(name) and (stem_of(name) in records or not is_picture_of_ours(folder / name))
    }
    return photos, records


def has_records(folder: Path) -> bool:
    """Whether a folder holds a photo beside a .json file of the same stem."""
    names = list_files(folder)
    stems = {stem_of(name) for name in names if is_record_name(name)}
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
