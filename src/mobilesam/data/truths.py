"""Annotations of the layouts, each read for one photo when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mobilesam.data.files import FileRef
from mobilesam.data.photo import Annotation, ObjectRef, PhotoId, Size
from mobilesam.data.shapes import PixelShape, PolygonShape, check_polygons, label_pixels, label_size, to_shape

VOID = 255  # of DAVIS and Pascal VOC: pixels that count neither way
FIRST_INSTANCE = 1000  # of Cityscapes: class * 1000 + number; below are stuff and groups
GROUPS = range(24, 34)  # of Cityscapes: things that were annotated as a group

Rule = Literal["object", "frames", "instances", "cityscapes"]


@dataclass(frozen=True)
class Sa1bTruth:
    """A record of the SA-1B schema; its source is "sa1b" where it names none."""

    file: FileRef

    def sizes(self) -> tuple[Size, ...]:
        """Those of the masks, then the record's."""
        record = json.loads(self.file.read())
        return _stated(record["annotations"], record.get("image"))

    def read(self, photo: PhotoId) -> Annotation:
        """Parse the record."""
        record = json.loads(self.file.read())
        objects = tuple(
            ObjectRef(f"{photo.path}/{one.get('id', i)}", to_shape(one["segmentation"], _area(one)))
            for i, one in enumerate(record["annotations"])
        )
        return Annotation(str(record.get("source") or "sa1b"), objects)


@dataclass(frozen=True)
class CocoTruth:
    """Annotation records of one photo of a COCO or LVIS file."""

    source: str
    records: tuple[dict[str, Any], ...]
    image: dict[str, Any] | None = None
    """The record of the photo itself, for its width and height."""

    def sizes(self) -> tuple[Size, ...]:
        """Those of the masks, then the photo's record's."""
        return _stated(self.records, self.image)

    def read(self, photo: PhotoId) -> Annotation:
        """Convert the records."""
        objects = tuple(
            ObjectRef(str(one["id"]), to_shape(one["segmentation"]), bool(one.get("iscrowd", 0)))
            for one in self.records
        )
        return Annotation(self.source, objects)


@dataclass(frozen=True)
class PixelTruth:
    """A label picture.

    Rules, by which values become objects:
        object: everything but 0 and `ignore` is one object (GrabCut, Berkeley, DAVIS 2016).
        frames: as "instances"; where the picture holds only 0 and 255, as "object" (DAVIS).
        instances: each value but 0 is an object, 255 is ignored (Pascal VOC's SegmentationObject).
        cityscapes: each value from 1000 is an object; values of groups are crowds.
    """

    source: str
    file: FileRef
    rule: Rule
    ignore: int | None = None

    def sizes(self) -> tuple[Size, ...]:
        """The picture's own."""
        return (label_size(self.file),)

    def read(self, photo: PhotoId) -> Annotation:
        """Look which values there are."""
        return Annotation(self.source, tuple(self.objects(photo.path)))

    def objects(self, name: str) -> list[ObjectRef]:
        """The objects of the picture."""
        if self.rule == "object":
            return [ObjectRef(name, PixelShape(self.file, None, self.ignore))]
        values = [int(value) for value in np.unique(label_pixels(self.file))]
        if self.rule == "cityscapes":
            kept = [v for v in values if v >= FIRST_INSTANCE or v in GROUPS]
            return [ObjectRef(f"{name}/{v}", PixelShape(self.file, v), v < FIRST_INSTANCE) for v in kept]
        # A picture of 0 and 255 alone is DAVIS 2016's: 255 is its object, not something to ignore.
        if self.rule == "frames" and set(values) <= {0, VOID}:
            return [ObjectRef(name, PixelShape(self.file))]
        return [ObjectRef(f"{name}/{v}", PixelShape(self.file, v, VOID)) for v in values if v not in (0, VOID)]


@dataclass(frozen=True)
class YoloTruth:
    """A YOLO-seg label file: a line per object, its class and a polygon in 0-1."""

    source: str
    file: FileRef

    def sizes(self) -> tuple[Size, ...]:
        """None: the polygons are fractions of the photo."""
        return ()

    def read(self, photo: PhotoId) -> Annotation:
        """Parse the lines."""
        lines = [line.split()[1:] for line in self.file.read().decode().splitlines() if line.strip()]
        objects = tuple(
            ObjectRef(f"{photo.path}/{i}", PolygonShape(check_polygons([line]), is_normalised=True))
            for i, line in enumerate(lines)
        )
        return Annotation(self.source, objects)


def _area(record: dict[str, Any]) -> int | None:
    return None if record.get("area") is None else int(record["area"])


def _stated(annotations: Iterable[Any], image: Any) -> tuple[Size, ...]:
    """Sizes (height, width) that records state: of the run lengths, and of the photo. Malformed ones are left out."""
    pairs = [one["segmentation"].get("size") for one in annotations if _is_rle(one)]
    if isinstance(image, dict):
        pairs.append([image.get("height"), image.get("width")])
    return tuple((pair[0], pair[1]) for pair in pairs if _is_pair(pair))


def _is_rle(annotation: Any) -> bool:
    return isinstance(annotation, dict) and isinstance(annotation.get("segmentation"), dict)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) for side in value)
