"""Prompts of an annotation run: a detector's boxes, or points, from COCO-style JSON or Parquet.

A record has `image_id` (of a COCO input) or `file_name`, and `bbox` (x, y, width, height) or `point` (x, y), in pixels
of the upright photo; `category_id`, `score` and `id` are kept where given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from mobilesam.data.coco import image_key
from mobilesam.data.photo import MALFORMED, PhotoId, PhotoRef, Problem, reason
from mobilesam.data.truths import CocoTruth, RecordTruth
from mobilesam.errors import DataError
from mobilesam.rle import is_whole
from mobilesam.settings import Range, fits
from mobilesam.shards.cells import RowTruth
from mobilesam.shards.parquet import read_rows
from mobilesam.shards.tasks import Ask
from mobilesam.text import parse_json

Finite = Annotated[float, Range()]
Box = tuple[Finite, Finite, Finite, Finite]
Point = tuple[Finite, Finite]


class PromptFile:
    """The prompts of a file, by photo.

    Args:
        path: a COCO annotation file, a list of detections (COCO's result format), or a .parquet file.

    Raises:
        DataError: it cannot be read, holds no prompts, or a record is malformed; names the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_image: dict[int | str, list[Ask]] = defaultdict(list)
        self.by_name: dict[str, list[Ask]] = defaultdict(list)
        self.used: set[tuple[str, int | str]] = set()
        """Ids and names by which photos were found."""
        records, names = read_records(path)
        self.names = {key: name.replace("\\", "/") for key, name in names.items()}
        for i, record in enumerate(records):
            try:
                self._add(record, names)
            except MALFORMED as error:
                raise DataError(f"'{path}': prompt {i} is malformed: {reason(error)}") from error
        if not self.by_image and not self.by_name:
            raise DataError(f"'{path}' holds no prompts")

    def _add(self, record: dict[str, Any], names: dict[int | str, str]) -> None:
        """Sort in one record, under the photo's name where it is known, else under its id."""
        name = record.get("file_name")
        if name is None:
            key = image_key(record["image_id"])
            self.by_image[key].append(to_ask(record, len(self.by_image[key])))
            name = names.get(key)
        if name is not None:
            place = self.by_name[str(name).replace("\\", "/")]
            place.append(to_ask(record, len(place)))

    def of(self, photo: PhotoRef) -> tuple[Ask, ...]:
        """The prompts of a photo: by its COCO id, else by its path in the data set, else by its bare file name."""
        if photo.image_id is not None and photo.image_id in self.by_image:
            self.used.add(("id", photo.image_id))
            return tuple(self.by_image[photo.image_id])
        path = photo.id.path
        for name in (path, path.rpartition("/")[2]):
            if name in self.by_name:
                self.used.add(("name", name))
                return tuple(self.by_name[name])
        # Photos of a tar have no suffix in their identity.
        stem = None if photo.file.member is None else self._stems.get(path)
        if stem is None:
            return ()
        self.used.add(("name", stem))
        return tuple(self.by_name[stem])

    def unmatched(self) -> Iterator[Problem]:
        """The ids and names for which `of` was asked for no photo."""
        places: dict[tuple[str, int | str], int] = {}
        for key, asks in self.by_image.items():
            if ("name", self.names.get(key, "")) not in self.used:
                places["id", key] = len(asks)
        for name in self.by_name.keys() - set(self.names.values()):
            places["name", name] = len(self.by_name[name])
        for (kind, place), count in sorted(places.items(), key=str):
            if (kind, place) not in self.used:
                what = f"image_id {place}" if kind == "id" else str(place)
                yield Problem(PhotoId(self.path.name, what), f"{count} prompts match no photo of the inputs")

    @cached_property
    def _stems(self) -> dict[str, str]:
        """Name of a photo without its suffix → its name."""
        return {name.rpartition(".")[0] or name: name for name in self.by_name}


def read_records(path: Path) -> tuple[Iterable[dict[str, Any]], dict[int | str, str]]:
    """The records of a prompt file, and the names of the photos by their ids, where the file has them.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix == ".parquet":
        return read_rows(path), {}
    try:
        data = parse_json(path.read_bytes())
        if isinstance(data, list):
            return data, {}
        if not isinstance(data["annotations"], list):
            raise DataError("'annotations' must be a list")
        return data["annotations"], {image_key(image["id"]): str(image["file_name"]) for image in data["images"]}
    except (*MALFORMED, OSError) as error:
        raise DataError(f"'{path}' is no prompt file: {reason(error)}; expected COCO detections") from error


def to_ask(record: dict[str, Any], number: int) -> Ask:
    """One record as a prompt.

    Raises:
        DataError, KeyError, TypeError: it has neither a box nor a point of finite numbers.
    """
    box, point = record.get("bbox"), record.get("point")
    if box is not None and fits(tuple(box), Box):
        x, y, width, height = map(float, box)
        corners, xy = (x, y, x + width, y + height), None
    elif point is not None and fits(tuple(point), Point):
        corners, xy = None, (float(point[0]), float(point[1]))
    else:
        raise DataError("expected bbox [x, y, width, height] or point [x, y] of finite numbers")
    category, score = record.get("category_id"), record.get("score")
    return Ask(
        str(record.get("id", number)),
        corners,
        xy,
        int(category) if category is not None and is_whole(category) else None,
        float(score) if score is not None and fits(score, Finite) else None,
    )


def annotated_boxes(photo: PhotoRef, source: str, drop: Callable[[Problem], None]) -> tuple[Ask, ...]:
    """The boxes that an input itself is annotated with: those of a COCO file, a shard's records or a Parquet file.

    Args:
        photo: one of the input.
        source: the input.
        drop: gets annotations that ask for nothing because they cannot be read, or have no usable box.

    Raises:
        DataError: the input is of another kind.
    """
    if isinstance(photo.truth, CocoTruth | RowTruth):
        records: Sequence[Any] = photo.truth.records
    elif isinstance(photo.truth, RecordTruth):
        try:
            records = parse_json(photo.truth.file.read())["annotations"]
            if not isinstance(records, list):
                raise DataError("'annotations' must be a list")
        except (*MALFORMED, OSError) as error:
            drop(Problem(photo.id, f"its boxes cannot be read: {reason(error)}"))
            return ()
    else:
        raise DataError(f"'{source}' comes with no boxes; give a file of them: --prompts FILE")
    asks = []
    for i, record in enumerate(records):
        try:
            asks.append(to_ask(record, i))
        except MALFORMED as error:
            number = record.get("id", i) if isinstance(record, dict) else i
            drop(Problem(PhotoId(photo.id.dataset, f"{photo.id.path}#{number}"), f"no usable box: {reason(error)}"))
    return tuple(asks)
