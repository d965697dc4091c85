"""Data sets → samples. Streaming: nothing is unpacked to disk, nothing but annotations is held in memory.

read("eval.tar")                  SA-1B shard
read("sa_000000/")                SA-1B, extracted: NAME.jpg beside NAME.json
read("instances_val.json")        COCO or LVIS; photos beside it, or in `images`
read("GrabCut/")                  data_GT + boundary_GT: 255 object, 128 ignored
read("Berkeley/")                 images + masks: anything but 0 is the object
read("DAVIS345/")                 img + gt: likewise
read("DAVIS/")                    JPEGImages + Annotations: each palette index an object, 255 ignored
read("yolo/")                     images + labels: YOLO-seg polygons
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam import coco
from mobilesam.errors import DataError
from mobilesam.evaluate.samples import (
    FileRef,
    PixelShape,
    PolygonShape,
    Problem,
    RleShape,
    Sample,
    Shape,
    TruthRef,
    label_pixels,
)
from mobilesam.image import SUFFIXES
from mobilesam.shards import index_shard, read_bytes, source_of

Item = Sample | Problem


def read(path: Path, *, images: Path | None = None) -> Iterator[Item]:
    """Every photo of a data set, and every one that cannot be read.

    Args:
        path: a shard, a folder or an annotation file, as listed above.
        images: folder of the photos of a COCO or LVIS file; by default found near it.

    Raises:
        DataError: the data set as a whole is missing or of no known layout.
    """
    if path.suffix == ".tar":
        yield from read_shard(path)
    elif path.suffix == ".json":
        yield from read_coco(path, images)
    elif path.is_dir():
        yield from read_folder(path)
    else:
        raise DataError(f"'{path}' is no data set: expected a .tar shard, a COCO .json or a folder")


def read_shard(path: Path) -> Iterator[Item]:
    """An SA-1B tar."""
    for member in index_shard(str(path)):
        record = read_bytes(member.shard, member.json)
        yield from_sa1b(member.name, record, FileRef(member.shard, member.jpg))


def read_folder(path: Path) -> Iterator[Item]:
    """A folder, by the names of what is in it.

    Raises:
        DataError: no layout fits.
    """
    for (photos, truth), reader in LAYOUTS.items():
        if (path / photos).is_dir() and (path / truth).is_dir():
            yield from reader(path / photos, path / truth)
            return
    records = sorted(p for p in path.glob("*.json") if p.with_suffix(".jpg").exists())
    if not records:
        names = ", ".join(" + ".join(pair) for pair in LAYOUTS)
        raise DataError(f"'{path}' has no known layout: expected NAME.jpg beside NAME.json, or folders {names}")
    for record in records:
        yield from_sa1b(record.stem, record.read_bytes(), FileRef(str(record.with_suffix(".jpg"))))


def from_sa1b(name: str, record: bytes, photo: FileRef) -> Item:
    """One photo of the SA-1B schema; its source is "sa1b" where it names none."""
    try:
        data = json.loads(record)
        objects = tuple(
            TruthRef(f"{name}/{annotation.get('id', i)}", to_shape(annotation["segmentation"]))
            for i, annotation in enumerate(data["annotations"])
        )
        return Sample(name, source_of(data), photo, objects)
    except (ValueError, KeyError, TypeError) as error:
        return Problem(name, f"broken annotation: {type(error).__name__} {error}")


def read_coco(path: Path, images: Path | None) -> Iterator[Item]:
    """COCO or LVIS instances.

    Raises:
        DataError: the file is no COCO file.
    """
    records, by_image = coco.read_annotations(path)
    for record in records:
        yield from_coco(record, by_image[record["id"]], path.parent, images)


def from_coco(record: dict[str, Any], annotations: list[dict[str, Any]], beside: Path, images: Path | None) -> Item:
    """One photo of a COCO or LVIS file."""
    name = coco.photo_name(record)
    found = coco.find_photo(name, beside, images)
    if found is None:
        return Problem(name, "the photo is not there; give its folder with --images")
    try:
        objects = tuple(
            TruthRef(str(annotation["id"]), to_shape(annotation["segmentation"]), bool(annotation.get("iscrowd", 0)))
            for annotation in annotations
        )
    except (KeyError, TypeError, ValueError) as error:
        return Problem(name, f"broken annotation: {type(error).__name__} {error}")
    return Sample(name, "coco", FileRef(str(found)), objects, image_id=int(record["id"]))


def to_shape(segmentation: Any) -> Shape:
    """COCO's three forms of a segmentation: polygons, run lengths, compressed run lengths."""
    if isinstance(segmentation, list):
        polygons = tuple(tuple(float(v) for v in polygon) for polygon in segmentation)
        if not polygons or any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise ValueError("a polygon needs at least three (x, y) pairs")
        return PolygonShape(polygons)
    height, width = (int(side) for side in segmentation["size"])
    counts = coco.to_rle(segmentation, (height, width))["counts"]
    return RleShape({"size": [height, width], "counts": counts})


def photos_in(folder: Path) -> list[Path]:
    """Photos of a folder and its subfolders, in order."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


def beside(photo: Path, photos: Path, truth: Path) -> Path | None:
    """The file of the same relative stem under another folder."""
    stem = photo.relative_to(photos).with_suffix("")
    return next(iter(sorted((truth / stem.parent).glob(stem.name + ".*"))), None)


def read_pixels(photos: Path, truth: Path, *, ignore: int | None, has_indices: bool) -> Iterator[Item]:
    """Photos with mask pictures: one object, or one per palette index."""
    source = photos.parent.name.lower()
    for photo in photos_in(photos):
        name, picture = str(photo.relative_to(photos)), beside(photo, photos, truth)
        if picture is None:
            yield Problem(name, f"no mask in {truth}")
            continue
        file = FileRef(str(picture))
        try:
            values = np.unique(label_pixels(file)) if has_indices else np.array([])
        except DataError as error:
            yield Problem(name, str(error))
            continue
        # A picture of 0 and 255 alone is DAVIS 2016's: 255 is its object, not something to ignore.
        is_binary = not has_indices or set(values.tolist()) <= {0, 255}
        if is_binary:
            objects = [TruthRef(name, PixelShape(file, None, None if has_indices else ignore))]
        else:
            kept = [int(v) for v in values if v not in (0, 255)]
            objects = [TruthRef(f"{name}/{v}", PixelShape(file, v, 255)) for v in kept]
        yield Sample(name, source, FileRef(str(photo)), tuple(objects))


def read_yolo(photos: Path, labels: Path) -> Iterator[Item]:
    """YOLO-seg: a line per object, its class and a polygon in 0-1."""
    source = photos.parent.name.lower()
    for photo in photos_in(photos):
        name = str(photo.relative_to(photos))
        text = (labels / name).with_suffix(".txt")
        if not text.exists():
            yield Problem(name, f"no label file {text}")
            continue
        try:
            rows = [tuple(float(v) for v in line.split()[1:]) for line in text.read_text().splitlines() if line.strip()]
            if any(len(row) < 6 or len(row) % 2 for row in rows):
                raise ValueError("a polygon needs at least three (x, y) pairs")
        except ValueError as error:
            yield Problem(name, f"broken label file: {error}")
            continue
        objects = (TruthRef(f"{name}/{i}", PolygonShape((row,), is_normalised=True)) for i, row in enumerate(rows))
        yield Sample(name, source, FileRef(str(photo)), tuple(objects))


def _pixels(ignore: int | None, *, has_indices: bool = False) -> Callable[[Path, Path], Iterator[Item]]:
    def reader(photos: Path, truth: Path) -> Iterator[Item]:
        return read_pixels(photos, truth, ignore=ignore, has_indices=has_indices)

    return reader


LAYOUTS: dict[tuple[str, str], Callable[[Path, Path], Iterator[Item]]] = {
    ("data_GT", "boundary_GT"): _pixels(128),
    ("JPEGImages", "Annotations"): _pixels(255, has_indices=True),
    ("img", "gt"): _pixels(None),
    ("images", "masks"): _pixels(None),
    ("images", "labels"): read_yolo,
}
