"""Photos that an input names several times, such as a table with a row for each detection: each is done once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, TypeAlias

from mobilesam.data.layouts import TWICE
from mobilesam.data.photo import PhotoId, Problem
from mobilesam.errors import DataError, first_line
from mobilesam.shards.tasks import Ask, Task

Found: TypeAlias = tuple["Task | Problem", "int | None"]
"""A photo of an input, or a problem; and the size in bytes that its listing notes, None where that notes nothing."""
Row: TypeAlias = tuple[str, "int | None", str]
"""A name that the mentions of one photo share, the size, and the JSON of the photo or the problem."""

TABLE = "CREATE TABLE found (number INTEGER PRIMARY KEY, name TEXT, size INTEGER, record TEXT)"
BY_PHOTO = """
    SELECT name, size, record
    FROM (SELECT *, min(number) OVER (PARTITION BY name) AS first FROM found) ORDER BY first, number
"""


def merged(found: Iterable[Found]) -> Iterator[Found]:
    """Each photo once, where it is named first, with the prompts of all its mentions; and each problem once.

    The photos are kept in a temporary database meanwhile, which moves to the disk when it grows: an input of any length
    takes the same memory.

    Args:
        found: the photos and problems of one input.

    Yields:
        The same without repeats; and a problem for a photo of another file under the same name.

    Raises:
        DataError: the temporary folder has no room.
    """
    try:
        with closing(sqlite3.connect("")) as kept:  # no name: a database of its own, removed when it is closed
            kept.execute(TABLE)
            kept.executemany("INSERT INTO found (name, size, record) VALUES (?, ?, ?)", map(_to_row, found))
            for _, mentions in groupby(kept.execute(BY_PHOTO), key=lambda row: row[0]):
                yield from _join(map(_from_row, mentions))
    except sqlite3.Error as error:
        raise DataError(
            f"the list of photos cannot be kept in the temporary folder ({first_line(error)}): set TMPDIR to one with "
            "room"
        ) from error


def _to_row(one: Found) -> Row:
    item, size = one
    if isinstance(item, Task):
        return json.dumps([item.photo.dataset, item.photo.path]), size, json.dumps(item.to_dict())
    record = json.dumps([item.id.dataset, item.id.path, item.reason])
    return record, size, record  # a problem is repeated where its reason is too


def _from_row(row: tuple[Any, ...]) -> Found:
    _, size, text = row
    record = json.loads(text)
    if isinstance(record, dict):
        return Task.from_dict(record), size
    dataset, path, reason = record
    return Problem(PhotoId(dataset, path), reason), size


def _join(mentions: Iterator[Found]) -> Iterator[Found]:
    """One photo for its mentions."""
    item, size = next(mentions)
    if isinstance(item, Problem):
        yield item, size
        return
    groups, ids, has_other = [item.asks], list(item.image_ids), False
    for other, _ in mentions:
        if isinstance(other, Task) and other.file == item.file:
            groups.append(other.asks)
            ids += [id for id in other.image_ids if id not in ids]
        else:
            has_other = True
    asks, id = join_asks(groups), ids[0] if ids else None
    yield replace(item, asks=asks, image_id=id, other_ids=tuple(ids[1:])), size
    if has_other:
        yield Problem(item.photo, TWICE), None


def join_asks(groups: Iterable[Iterable[Ask]]) -> tuple[Ask, ...]:
    """The prompts of several mentions of a photo; of later ones, an id that is taken becomes the next free number."""
    first, *others = map(tuple, groups)
    asks, taken = list(first), {ask.id for ask in first}
    number = len(asks)
    for ask in chain.from_iterable(others):
        if ask.id in taken:
            while str(number) in taken:
                number += 1
            ask = replace(ask, id=str(number))
        taken.add(ask.id)
        asks.append(ask)
    return tuple(asks)
