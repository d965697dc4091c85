"""Annotation readers of the layouts: each reads the annotation of one photo, on demand.

A malformed object is reported in `Annotation.broken`; the other objects of its photo are still read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mobilesam.data import labelme
from mobilesam.data.files import FileRef
from mobilesam.data.photo import MALFORMED, Annotation, ObjectRef, PhotoId, Size, reason
from mobilesam.data.polygons import check_polygon
from mobilesam.data.shapes import COLOURED, PixelShape, PolygonShape, label_pixels, label_size, lossy_format, to_shape
from mobilesam.errors import DataError
from mobilesam.rle import is_whole
from mobilesam.text import decode_text, encodable, parse_json

VOID = 255  # of DAVIS and Pascal VOC: pixels that are not evaluated
VOID_COLOUR = COLOURED + 0xE0E0C0  # the same where colours stand for indices
FIRST_INSTANCE = 1000  # of Cityscapes: class * 1000 + number; below are stuff and groups
GROUPS = range(24, 34)  # of Cityscapes: things that were annotated as a group
BOX_NUMBERS = 4  # of a YOLO line that holds a box: its centre and its sides
MAX_VALUES = 10_000
"""Most objects of a label picture: more than there are cells in a micrograph; noise has more."""
MAX_COLOURS = 256
"""Most objects of a label picture of colours: what palettes hold; smoothed edges have more."""
MARGIN = 1.0  # of a YOLO polygon around the photo; what lies farther out is not in fractions of it

Rule = Literal["object", "frames", "instances", "cityscapes"]


def gather(source: str, records: Iterable[tuple[str, Any]], to_object: Callable[[str, Any], ObjectRef]) -> Annotation:
    """Convert (id, record) pairs to objects; records that cannot be read are reported with their reason."""
    objects: list[ObjectRef] = []
    broken: list[tuple[str, str]] = []
    for id, record in records:
        try:
            objects.append(to_object(id, record))
        except MALFORMED as error:
            broken.append((id, reason(error)))
    return Annotation(source, tuple(objects), tuple(broken))


def record_ids(records: Sequence[Any], prefix: str = "", nameless: str = "") -> list[str]:
    """Give each record a unique id: its own after `prefix`, or its index after `nameless` where it has none."""
    ids: dict[str, None] = {}
    times: Counter[str] = Counter()
    for i, record in enumerate(records):
        own = record_id(record)
        id = first = f"{nameless or prefix}{i}" if own is None else prefix + own
        while id in ids:
            times[first] += 1
            id = f"{first}#{times[first] + 1}"
        ids[id] = None
    return list(ids)


def record_id(record: Any) -> str | None:
    """The record's own id as a text, 7.0 written as "7"; None where it has none."""
    own: Any = record.get("id") if isinstance(record, dict) else None
    if is_whole(own):
        return str(int(own))
    return encodable(str(own)) if isinstance(own, (str, float)) and not isinstance(own, bool) else None


@dataclass(frozen=True)
class RecordTruth:
    """A JSON file per photo: LabelMe's, or of the SA-1B schema, whose source is "sa1b" unless it names another."""

    file: FileRef

    def sizes(self) -> tuple[Size, ...]:
        """Sizes that the masks state, then the size that the record states for its photo."""
        record = parse_json(self.file.read())
        if "annotations" not in record:
            return _sizes([[record.get("imageHeight"), record.get("imageWidth")]])
        return _stated(record["annotations"], record.get("image"))

    def read(self, photo: PhotoId) -> Annotation:
        """Parse the record."""
        record = parse_json(self.file.read())
        if not isinstance(record, dict) or not ("annotations" in record or "shapes" in record):
            raise DataError("neither SA-1B's record, which has annotations, nor LabelMe's, which has shapes")
        if "annotations" not in record:
            parts = labelme.group(record["shapes"])
            ids = [f"{photo.path}/{number}" for number, _ in parts]
            whole = zip(ids, (shapes for _, shapes in parts), strict=True)
            found = gather("labelme", whole, lambda id, shapes: ObjectRef(id, labelme.to_shape(shapes)))
            return _drawn_on(found, _sizes([[record.get("imageHeight"), record.get("imageWidth")]]))
        records = check_list(record["annotations"])
        ids = record_ids(records, f"{photo.path}/")
        source = encodable(str(record.get("source") or "sa1b"))
        return _drawn_on(gather(source, zip(ids, records, strict=True), _sa1b_object), _stated((), record.get("image")))


@dataclass(frozen=True)
class CocoTruth:
    """The annotation records of one photo in a COCO or LVIS file."""

    source: str
    records: tuple[dict[str, Any], ...]
    ids_repeat: bool = False
    """Whether annotation ids repeat within the file; ids are then prefixed by the photo's path."""
    image: dict[str, Any] | None = None
    """The record of the photo itself, for its width and height."""

    def sizes(self) -> tuple[Size, ...]:
        """Sizes that the masks state, then the size in the image record."""
        return _stated(self.records, self.image)

    def read(self, photo: PhotoId) -> Annotation:
        """Convert the records."""
        ids = record_ids(self.records, f"{photo.path}/" if self.ids_repeat else "", f"{photo.path}/")
        return _drawn_on(
            gather(self.source, zip(ids, self.records, strict=True), _coco_object), _stated((), self.image)
        )


@dataclass(frozen=True)
class PixelTruth:
    """A label picture per photo, whose pixel values tell objects apart.

    Rules, by which values become objects:
        object: everything but 0 is one object (Berkeley, DAVIS 2016); with `ignore`, 255 alone (GrabCut).
        frames: as "instances"; where the picture holds only 0 and 255, as "object" (DAVIS).
        instances: each value or colour but 0 is an object, 255 is ignored (Pascal VOC's SegmentationObject); in a
            picture of 16 bits, as `mobilesam everything` writes, 255 is an object too.
        cityscapes: each value from 1000 is an object; values of groups are crowds.
    """

    source: str
    file: FileRef
    rule: Rule
    ignore: int | None = None

    def sizes(self) -> tuple[Size, ...]:
        """Size of the label picture."""
        return (label_size(self.file),)

    def read(self, photo: PhotoId) -> Annotation:
        """Find the objects: one, or one per value, by `rule`."""
        name = photo.path
        if self.rule == "object":
            return Annotation(self.source, (ObjectRef(name, PixelShape(self.file, None, self.ignore)),))
        if lossy := lossy_format(self.file):
            if self.rule == "frames":
                return Annotation(self.source, (ObjectRef(name, PixelShape(self.file)),))
            why = f"a {lossy} does not keep the values that tell objects apart; use PNG"
            return Annotation(self.source, (), ((name, why),))
        return Annotation(self.source, tuple(self.by_value(name)))

    def by_value(self, name: str) -> list[ObjectRef]:
        """The objects of a label picture with one value per object.

        Raises:
            DataError: it has more values than there can be objects.
        """
        pixels = label_pixels(self.file)
        values = [int(value) for value in np.unique(pixels)]
        if max(values) > COLOURED and len(values) > MAX_COLOURS:
            raise DataError(
                f"{self.file.path}: {len(values)} colours are more than {MAX_COLOURS} objects; save label pictures "
                "without smoothed edges (anti-aliasing) and without lossy compression"
            )
        if len(values) > MAX_VALUES:
            raise DataError(f"{self.file.path}: {len(values)} values are more than {MAX_VALUES} objects")
        if self.rule == "cityscapes":
            kept = [v for v in values if v >= FIRST_INSTANCE or v in GROUPS]
            return [ObjectRef(f"{name}/{v}", PixelShape(self.file, v), v < FIRST_INSTANCE) for v in kept]
        # A picture of 0 and 255 alone is DAVIS 2016's: 255 is its object, not something to ignore.
        if self.rule == "frames" and set(values) <= {0, VOID}:
            return [ObjectRef(name, PixelShape(self.file))]
        void = VOID_COLOUR if max(values) > COLOURED else VOID if pixels.dtype == np.uint8 else None
        return [ObjectRef(f"{name}/{v}", PixelShape(self.file, v, void)) for v in values if v not in (0, void)]


@dataclass(frozen=True)
class YoloTruth:
    """A YOLO-seg label file: one line per object, a class and a polygon in 0-1. Lines that hold a box are reported."""

    source: str
    file: FileRef

    def sizes(self) -> tuple[Size, ...]:
        """Empty: the polygons are fractions of the photo and state no size."""
        return ()

    def read(self, photo: PhotoId) -> Annotation:
        """Parse the lines."""
        lines = [line.split() for line in decode_text(self.file.read()).splitlines() if line.strip()]
        return gather(self.source, ((f"{photo.path}/{i}", line) for i, line in enumerate(lines)), _yolo_object)


def check_list(value: Any) -> list[Any]:
    """Check that a value is a list of records, and return it.

    Raises:
        DataError: it is no list.
    """
    if not isinstance(value, list):
        raise DataError(f"expected a list of records, found {type(value).__name__}")
    return value


def _sa1b_object(id: str, record: dict[str, Any]) -> ObjectRef:
    return ObjectRef(id, to_shape(record["segmentation"], _area(record)))


def _coco_object(id: str, record: dict[str, Any]) -> ObjectRef:
    return ObjectRef(id, to_shape(record.get("segmentation")), record.get("iscrowd") in (1, "1"))


def _yolo_object(id: str, line: list[str]) -> ObjectRef:
    if len(line) == 1 + BOX_NUMBERS:
        raise DataError("a box, not a polygon; masks need YOLO-seg labels")
    polygon = check_polygon([float(value) for value in line[1:]])
    if polygon.min() < -MARGIN or polygon.max() > 1 + MARGIN:
        raise DataError("coordinates are not in fractions of the photo, 0-1")
    return ObjectRef(id, PolygonShape((tuple(polygon.ravel().tolist()),), is_normalised=True))


def _area(record: dict[str, Any]) -> int | None:
    """The area that a record states; None where it is not a non-negative number."""
    area: Any = record.get("area")
    is_area = isinstance(area, (int, float)) and not isinstance(area, bool) and 0 <= area < np.inf
    return int(area) if is_area else None


def _stated(annotations: Iterable[Any], image: Any) -> tuple[Size, ...]:
    """Sizes (height, width) stated by run lengths, then by the image record; malformed sizes are left out."""
    parts = [one.get("segmentation") for one in annotations if isinstance(one, dict)]
    pairs = [part.get("size") for part in parts if isinstance(part, dict)]
    return _sizes([*pairs, [image.get("height"), image.get("width")] if isinstance(image, dict) else None])


def _drawn_on(annotation: Annotation, stated: tuple[Size, ...]) -> Annotation:
    """Note in the polygons of an annotation the size that it states for its photo, if that is one."""
    if not stated or min(stated[-1]) < 1:
        return annotation
    objects = [
        replace(one, shape=replace(one.shape, drawn_on=stated[-1])) if isinstance(one.shape, PolygonShape) else one
        for one in annotation.objects
    ]
    return replace(annotation, objects=tuple(objects))


def _sizes(pairs: Iterable[Any]) -> tuple[Size, ...]:
    lists = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2]
    return tuple((int(height), int(width)) for height, width in lists if is_whole(height) and is_whole(width))
