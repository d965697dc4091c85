"""COCO and LVIS instance annotations: photos in a folder, objects in one JSON file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mobilesam.data.files import FileRef
from mobilesam.data.photo import MALFORMED, Item, PhotoId, PhotoRef, Problem, reason
from mobilesam.data.truths import CocoTruth, record_id
from mobilesam.errors import DataError
from mobilesam.remote import is_lost, is_remote, names_in
from mobilesam.rle import is_whole
from mobilesam.text import parse_json

Record = dict[str, Any]
ImageKey: TypeAlias = int | str
Find: TypeAlias = Callable[[str, Sequence[str]], "str | None"]
"""Finds the file or the address of a photo by its name, or else by other names."""
NOT_THERE = "the photo is not there; give the folder of the photos"
SHARED = "the photo is not there under its whole path, and other photos of the file have its name without folders too"


@dataclass(frozen=True)
class CocoFile:
    """The records of a COCO or LVIS file; only the `image_id` of each annotation has been checked."""

    images: list[Any]
    by_image: dict[ImageKey, list[Record]]
    """Annotations of each image."""
    lost: list[tuple[int, str]]
    """Annotations without a usable `image_id`, as (index in the file, reason)."""
    ids_repeat: bool
    """Whether two annotations share an id."""
    ids_of: dict[str, list[ImageKey]]
    """Path of each photo → its image ids: a file may name one photo under several, each with annotations."""
    shared: frozenset[str] = frozenset()
    """Names without folders that photos of several paths have, so that they do not tell which of them is meant."""


def read_coco(path: Path | str, dataset: str, photos: Path | str | None = None) -> Iterator[Item]:
    """Read every photo of a COCO or LVIS file, and report annotations that belong to no photo.

    A photo that the file names under several image ids is there once, with the annotations of all of them.

    Args:
        path: the JSON file, or its address in an object store.
        dataset: name of the data set.
        photos: folder of the photos, or its address; looked for near the JSON file where None.

    Raises:
        DataError: the file is no COCO file.
        OSError: the store of the photos does not answer.
    """
    file, find = read_annotations(path), finder(path, photos)
    seen: set[ImageKey] = set()
    for i, record in enumerate(file.images):
        try:
            number = image_key(record["id"])
            if number in seen:
                raise DataError(f"another image has the id {number} too; annotations cannot be matched to either")
            seen.add(number)
            if number != file.ids_of.get(photo_path(record), [number])[0]:
                continue  # its annotations are with the first id of the photo
            yield from_record(record, file, path, dataset, find)
        except (*MALFORMED, OSError) as error:
            if is_lost(error):
                raise
            yield Problem(PhotoId(dataset, f"images[{i}]"), f"broken image record: {reason(error)}")
    for i, why in file.lost:
        yield Problem(PhotoId(dataset, f"annotations[{i}]"), why)
    astray = {number: records for number, records in file.by_image.items() if number not in seen}
    if astray:
        count, first = sum(len(records) for records in astray.values()), next(iter(astray))
        yield Problem(
            PhotoId(dataset, "annotations"), f"{count} of images that the file does not list, such as image_id {first}"
        )


def from_record(record: Record, file: CocoFile, path: Path | str, dataset: str, find: Find) -> Item:
    """Convert one image record of a COCO or LVIS file to a photo reference."""
    name, id = photo_name(record), PhotoId(dataset, photo_path(record))
    if not name:
        raise KeyError("file_name")
    ids = file.ids_of[id.path]
    records = tuple(one for each in ids for one in file.by_image.get(each, ()))
    bare = id.path.rpartition("/")[2]
    found = find(name, () if bare in file.shared else (bare,))
    if found is None:
        return Problem(id, SHARED if bare in file.shared else NOT_THERE)
    truth = CocoTruth(Path(path).stem, records, file.ids_repeat, image=record)
    return PhotoRef(id, FileRef(found), truth, image_id=ids[0], other_ids=tuple(ids[1:]))


def read_annotations(path: Path | str) -> CocoFile:
    """Parse a COCO or LVIS file and group its annotations by image.

    Raises:
        DataError: the file is no COCO file.
    """
    try:
        data = parse_json(FileRef(str(path)).read())
        images, annotations = data["images"], data["annotations"]
        if not isinstance(images, list) or not isinstance(annotations, list):
            raise DataError("its images and annotations must be lists")
    except (*MALFORMED, OSError) as error:
        raise DataError(f"'{path}' is not a COCO annotation file ({reason(error)})") from error
    by_image: dict[ImageKey, list[Record]] = defaultdict(list)
    lost: list[tuple[int, str]] = []
    for i, annotation in enumerate(annotations):
        try:
            by_image[image_key(annotation["image_id"])].append(annotation)
        except MALFORMED as error:
            lost.append((i, f"broken annotation: {reason(error)}"))
    ids = [id for one in annotations if (id := record_id(one)) is not None]
    return CocoFile(images, dict(by_image), lost, len(set(ids)) < len(ids), ids_by_path(images), shared_names(images))


def ids_by_path(images: list[Any]) -> dict[str, list[ImageKey]]:
    """Path of each photo → its image ids; of records with the same id, the first alone counts."""
    ids: dict[str, list[ImageKey]] = defaultdict(list)
    seen: set[ImageKey] = set()
    for record in images:
        with suppress(*MALFORMED):  # told when the record itself is read
            number = image_key(record["id"])
            if number not in seen and photo_name(record):
                ids[photo_path(record)].append(number)
            seen.add(number)
    return dict(ids)


def shared_names(images: list[Any]) -> frozenset[str]:
    """File names that photos in different folders share."""
    paths = {photo_path(record) for record in images if isinstance(record, dict)}
    times = Counter(path.rpartition("/")[2] for path in paths)
    return frozenset(name for name, count in times.items() if count > 1)


def image_key(id: Any) -> ImageKey:
    """Normalise an image id: 7, 7.0 and "7" mean the same image; "007" and "a" are texts of their own.

    Raises:
        DataError: it is neither a number nor a text.
    """
    if is_whole(id):
        return int(id)
    if isinstance(id, str):
        return int(id) if id.isascii() and id.isdigit() and str(int(id)) == id else id
    raise DataError(f"an image's id is a number or a text, not {id!r:.40}")


def photo_name(record: Record) -> str:
    """File name of a photo; LVIS has no `file_name`, so its split folder and name come from the end of `coco_url`."""
    return str(record.get("file_name") or "/".join(str(record.get("coco_url", "")).split("/")[-2:]))


def photo_path(record: Record) -> str:
    """Path of a photo in its data set: its file name with "/" between folders."""
    return photo_name(record).replace("\\", "/")


def finder(path: Path | str, photos: Path | str | None) -> Find:
    """Make the function that finds the photos of a COCO file, in a folder or near the file, on disk or in a store."""
    if is_remote(photos if photos is not None else path):
        return RemoteFinder(path, photos)

    def find(name: str, others: Sequence[str]) -> str | None:
        found = find_photo(name, Path(path).parent, Path(photos) if photos else None, others)
        return None if found is None else str(found)

    return find


class RemoteFinder:
    """Finds photos in an object store; each prefix that may hold one is listed once.

    Args:
        path: of the COCO file, or its address.
        photos: the prefix of the photos; near the file where None.
    """

    def __init__(self, path: Path | str, photos: Path | str | None) -> None:
        here = str(path).rpartition("/")[0]
        above = here.rpartition("/")[0]
        near = [here, f"{here}/images"] + ([above, f"{above}/images"] if not above.endswith("/") else [])
        self.folders = near if photos is None else [str(photos).rstrip("/")]
        self.listed: dict[str, set[str]] = {}

    def __call__(self, name: str, others: Sequence[str]) -> str | None:
        """The address of a photo."""
        names = (name.replace("\\", "/"), *others)
        urls = [f"{folder}/{one}" for one in names for folder in self.folders]
        return next(filter(self.is_there, urls), None)

    def is_there(self, url: str) -> bool:
        """Whether an object is in the listing of its prefix."""
        folder, _, name = url.rpartition("/")
        if folder not in self.listed:
            self.listed[folder] = names_in(folder)
        return name in self.listed[folder]


def find_photo(name: str, beside: Path, folder: Path | None, others: Sequence[str] = ()) -> Path | None:
    """Find a photo by name, in its folder or near the annotation file.

    Args:
        name: its path as the file gives it, which may have Windows separators.
        beside: folder of the annotation file.
        folder: folder of the photos; None to look near the annotation file.
        others: names to look for where the path itself is in none of the folders.
    """
    candidates = [folder] if folder else [beside, beside / "images", beside.parent, beside.parent / "images"]
    names = (name, name.replace("\\", "/"))
    wanted = [(c, one) for c in candidates for one in names] + [(c, one) for c in candidates for one in others]
    return next((p for c, one in wanted if (p := c / one).is_file()), None)
