"""Prompts of an annotation run: a detector's boxes, or points, from COCO-style JSON or Parquet.

A record has `image_id` (of a COCO input) or `file_name`, and `bbox` (x, y, width, height) or `point` (x, y), in pixels
of the upright photo; `category_id`, `score` and `id` are kept where given. Its photo is the only one with that id, or
with that path (after the name of its data set or without it), or else the only one with that bare file name.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any, Literal

from mobilesam.data.coco import image_key
from mobilesam.data.files import FileRef
from mobilesam.data.photo import MALFORMED, PhotoId, PhotoRef, Problem, reason
from mobilesam.data.truths import CocoTruth, RecordTruth
from mobilesam.errors import DataError
from mobilesam.remote import is_lost
from mobilesam.rle import is_whole
from mobilesam.settings import Range, fits
from mobilesam.shards.cells import RowTruth
from mobilesam.shards.parquet import read_rows
from mobilesam.shards.repeats import join_asks
from mobilesam.shards.tasks import Ask, Task
from mobilesam.text import counted, parse_json

Finite = Annotated[float, Range()]
Box = tuple[Finite, Finite, Finite, Finite]
Point = tuple[Finite, Finite]


Place = tuple[Literal["id", "name"], int | str]
"""What prompts name as their photo: its id, or its path or name."""
BY_ID, EXACT, BY_ID_AND_NAME, BARE = range(4)
"""How a photo fits a place, the best first: by an id alone, or an exact path of the same id; by its exact path; by its
id, where the bare names are the same too; by its bare name."""


@dataclass
class Claim:
    """The photo that fits a place best, and another one that fits it as well."""

    rank: int
    photo: PhotoId
    other: PhotoId | None = None


class PromptFile:
    """The prompts of a file, by photo.

    Args:
        path: a COCO annotation file, a list of detections (COCO's result format), or a .parquet file.

    Raises:
        DataError: it cannot be read, or holds no prompt that can be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asks: dict[Place, list[Ask]] = defaultdict(list)
        self.named: dict[int | str, str] = {}
        """Image id → the name that the file gives it."""
        self.problems: list[Problem] = []
        """The malformed prompts, which cost themselves alone."""
        records, names = read_records(path)
        for i, record in enumerate(records):
            try:
                self._add(record, names)
            except MALFORMED as error:
                self.problems.append(Problem(PhotoId(path.name, f"prompt {i}"), f"malformed: {reason(error)}"))
        if not self.asks and self.problems:
            first = self.problems[0]
            why = f"{first.id.path} is {first.reason}"
            raise DataError(f"'{path}' holds no prompt that can be used, {len(self.problems)} are malformed; {why}")
        if not self.asks:
            raise DataError(f"'{path}' holds no prompts")

    def _add(self, record: dict[str, Any], names: dict[int | str, str]) -> None:
        """Sort in one record, under the photo's name where it is known, else under its id."""
        name = record.get("file_name")
        key = image_key(record["image_id"]) if name is None else None
        own = slashed(names[key]) if key is not None and key in names else None
        place: Place = (
            ("id", key) if key is not None and own is None else ("name", slashed(name) if own is None else own)
        )
        ask = to_ask(record, len(self.asks.get(place, ())))
        if key is not None and own is not None:
            self.named[key] = own
        self.asks[place].append(ask)

    def give(self, found: Iterable[Task | Problem], folder: Path) -> Iterator[Task | Problem]:
        """The photos with their prompts. All photos are looked at first, since a name or an id may fit several.

        Args:
            found: the photos; they are kept in a file meanwhile, so that memory does not grow with their number.
            folder: folder for that file, which needs about 200 bytes for each photo.

        Raises:
            DataError: two photos fit the same prompts; names both and says how to tell them apart.
        """
        claims: dict[Place, Claim] = {}
        with TemporaryFile("w+", encoding="utf-8", dir=folder, prefix=".prompts") as kept:
            for item in found:
                if isinstance(item, Task):
                    self._claim(item, claims)
                    kept.write(json.dumps(item.to_dict()) + "\n")
                else:
                    kept.write(json.dumps([item.id.dataset, item.id.path, item.reason]) + "\n")
            self._check(claims)
            kept.seek(0)
            for record in map(json.loads, kept):
                if isinstance(record, dict):
                    task = Task.from_dict(record)
                    yield replace(task, asks=self._owned(task, claims))
                else:
                    dataset, path, why = record
                    yield Problem(PhotoId(dataset, path), why)
        yield from self.problems
        yield from self._unmatched(claims)

    def places(self, task: Task) -> Iterator[tuple[Place, int]]:
        """The places that a photo fits, and how: by its id, and by the best of its names."""
        yield from ((("id", id), BY_ID) for id in task.image_ids if ("id", id) in self.asks)
        own = list(dict.fromkeys(self.named[id] for id in task.image_ids if id in self.named))
        path = task.photo.path
        for name in (str(task.photo), path):
            if names := self._names(name, task.file):
                yield from ((("name", one), BY_ID if one in own else EXACT) for one in names)
                return
        if alike := [one for one in own if bare(one) == bare(path)]:
            yield from ((("name", one), BY_ID_AND_NAME) for one in alike)
        elif ("name", bare(path)) in self.asks:
            yield ("name", bare(path)), BARE

    def _names(self, name: str, photo: FileRef) -> list[str]:
        """The names of the prompts that are this one, or, for a photo of a tar, this one with any suffix."""
        if ("name", name) in self.asks:
            return [name]
        return [] if photo.member is None else self._stems.get(name, [])

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        """Name of a photo without its suffix → its names."""
        stems: dict[str, list[str]] = defaultdict(list)
        for name in (str(name) for kind, name in self.asks if kind == "name"):
            stems[name.rpartition(".")[0] or name].append(name)
        return dict(stems)

    def _claim(self, task: Task, claims: dict[Place, Claim]) -> None:
        """Note a photo at the places that it fits best so far."""
        for place, rank in self.places(task):
            claim = claims.get(place)
            if claim is None or rank < claim.rank:
                claims[place] = Claim(rank, task.photo)
            elif rank == claim.rank and claim.photo != task.photo:
                claim.other = claim.other or task.photo

    def _check(self, claims: dict[Place, Claim]) -> None:
        """Refuse prompts that fit two photos equally well."""
        for (kind, name), claim in claims.items():
            if claim.other is not None:
                what = f"image_id {name!r}" if kind == "id" else f"'{name}'"
                raise DataError(
                    f"'{self.path}': the prompts of {what} fit both '{claim.photo}' and '{claim.other}'; give them a "
                    f"file_name with the name of the data set, such as '{claim.photo}', or annotate each input into an "
                    "output of its own"
                )

    def _unmatched(self, claims: dict[Place, Claim]) -> Iterator[Problem]:
        """The ids and names that no photo has."""
        for (kind, name), asks in self.asks.items():
            if (kind, name) not in claims:
                what = f"image_id {name}" if kind == "id" else str(name)
                match = f"{counted(len(asks), 'prompt')} {'matches' if len(asks) == 1 else 'match'}"
                yield Problem(PhotoId(self.path.name, what), f"{match} no photo of the inputs")

    def _owned(self, task: Task, claims: dict[Place, Claim]) -> tuple[Ask, ...]:
        """The prompts of a photo."""
        owned = [place for place, _ in self.places(task) if claims[place].photo == task.photo]
        names = [name for kind, name in owned if kind == "name"]
        if len(names) > 1 and task.file.member is not None:
            raise DataError(
                f"'{self.path}' has prompts for '{names[0]}' and for '{names[1]}', and '{task.photo}' may be either, "
                f"since photos of a tar are named without their suffix; give its prompts the file_name '{task.photo}'"
            )
        return join_asks(self.asks[place] for place in owned) if owned else ()


def slashed(name: Any) -> str:
    """A path with "/" between its folders."""
    return str(name).replace("\\", "/")


def bare(path: str) -> str:
    """The name of a file without its folders."""
    return path.rpartition("/")[2]


def read_records(path: Path) -> tuple[Iterable[dict[str, Any]], dict[int | str, str]]:
    """The records of a prompt file, and the names of the photos by their ids, where the file has them.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix.lower() == ".parquet":
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
        if not fits(corners, Box):
            raise DataError(f"its bbox ends beyond every number: {box!r:.80}")
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
        OSError: its store does not answer.
    """
    if isinstance(photo.truth, CocoTruth | RowTruth):
        records: Sequence[Any] = photo.truth.records
    elif isinstance(photo.truth, RecordTruth):
        try:
            records = parse_json(photo.truth.file.read())["annotations"]
            if not isinstance(records, list):
                raise DataError("'annotations' must be a list")
        except (*MALFORMED, OSError) as error:
            if is_lost(error):
                raise
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
