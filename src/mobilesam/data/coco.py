"""COCO and LVIS instance annotations: photos in a folder, objects in one JSON file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilesam.data.files import FileRef
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem
from mobilesam.data.truths import CocoTruth
from mobilesam.errors import DataError

Record = dict[str, Any]
NOT_THERE = "the photo is not there; give the folder of the photos"


def read_coco(path: Path, dataset: str, photos: Path | None = None) -> Iterator[Item]:
    """Every photo of a COCO or LVIS file.

    Args:
        path: the JSON file.
        dataset: name of the data set.
        photos: folder of the photos; looked for near the JSON file where None.

    Raises:
        DataError: the file is no COCO file.
    """
    records, by_image = read_annotations(path)
    for i, record in enumerate(records):
        try:
            yield from_record(record, by_image, path, dataset, photos)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            yield Problem(PhotoId(dataset, f"images[{i}]"), f"broken image record: {type(error).__name__} {error}")


def from_record(
    record: Record, by_image: dict[int, list[Record]], path: Path, dataset: str, photos: Path | None
) -> Item:
    """One photo of a COCO or LVIS file."""
    name = photo_name(record)
    if not name:
        raise KeyError("file_name")
    number = int(record["id"])
    found = find_photo(name, path.parent, photos)
    if found is None:
        return Problem(PhotoId(dataset, name), NOT_THERE)
    truth = CocoTruth(path.stem, tuple(by_image.get(record["id"], ())), record)
    return PhotoRef(PhotoId(dataset, name), FileRef(str(found)), truth, image_id=number)


def read_annotations(path: Path) -> tuple[list[Record], dict[int, list[Record]]]:
    """A COCO or LVIS file: its image records, and the annotations of each image id.

    Raises:
        DataError: the file is no COCO file.
    """
    by_image: dict[int, list[Record]] = defaultdict(list)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        records = list(data["images"])
        for annotation in data["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not a COCO annotation file ({type(error).__name__}: {error})") from error
    return records, by_image


def photo_name(record: Record) -> str:
    """File name of a photo. LVIS has no file_name; the end of its coco_url is the split's folder and the name."""
    return str(record.get("file_name") or "/".join(str(record.get("coco_url", "")).split("/")[-2:]))


def find_photo(name: str, beside: Path, folder: Path | None) -> Path | None:
    """The photo of that name, in its folder or near the annotation file."""
    candidates = [folder] if folder else [beside, beside / "images", beside.parent, beside.parent / "images"]
    return next((p for c in candidates for p in (c / name, c / Path(name).name) if p.is_file()), None)
