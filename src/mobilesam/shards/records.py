"""The records of a run's folder, read with their types checked: of finished shards, of failed ones, of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from mobilesam.data.photo import MALFORMED
from mobilesam.errors import DataError
from mobilesam.settings import Range, fits
from mobilesam.text import parse_json

Number = Annotated[float, Range(low=0)]
Fields = Mapping[str, Any]
"""Name of an entry → its type."""

DONE: Fields = {
    **dict.fromkeys(("photos", "photos_failed", "bytes", "seconds", "peak_mb"), Number),
    "errors": tuple[tuple[str, str], ...],
}
"""Entries of a record in `done`."""
MASKS: Fields = {
    **dict.fromkeys(("masks", "second_looks", "second_look_seconds"), Number),
    "worst": tuple[tuple[float | str, float | str, float | str], ...],
}
"""Entries that only an annotation run has besides."""
FAILED: Fields = {"reason": str}
"""Entries of a record in `failed`."""
PLAN: Fields = {
    "asked": dict,
    "choice": dict,
    "suffix": str,
    "num_photos": int,
    "num_prompts": int,
    "num_problems": int,
    "names": tuple[str, ...],
    "offsets": tuple[Annotated[int, Range(low=0)], ...],
    "listings": dict,
}
"""Entries of job.json."""
ASKED: Fields = {"job": str, "settings": dict, "model": dict, "results": str | None}
"""What its entry "asked" holds of what a job needs."""


def read_record(path: Path, required: Fields, optional: Fields | None = None) -> dict[str, Any]:
    """The record of a shard.

    Args:
        path: of a file in `done` or `failed`.
        required: the entries that it must have.
        optional: the entries that it may have.

    Raises:
        DataError: it is damaged; says how the shard is made again.
        FileNotFoundError: it is missing.
    """
    try:
        record = parse_json(path.read_bytes())
        present = {name: kind for name, kind in (optional or {}).items() if name in record}
        if has(record, {**required, **present}):
            return dict(record)
    except MALFORMED:
        pass
    raise DataError(f"'{path}' is damaged; delete it and start the run again, which makes its shard anew")


def read_done(path: Path) -> dict[str, Any]:
    """The record of a finished shard, of any kind of run; raises as `read_record` does."""
    return read_record(path, DONE, MASKS)


def all_done(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of the finished shards of a run, by their names; one that is being replaced is left out."""
    for path in sorted(records_of(folder / "done")):
        yield path.stem, read_done(path)


def all_failed(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of the shards of a run that were set aside."""
    for path in sorted(records_of(folder / "failed")):
        yield path.stem, read_record(path, FAILED)


def records_of(folder: Path) -> Iterator[Path]:
    """The records in a folder, in no order; those that are being written are hidden files."""
    return (path for path in folder.glob("*.json") if not path.name.startswith("."))


def has(record: Any, fields: Fields) -> bool:
    """Whether a record has all entries, of the right types.

    Raises:
        KeyError, TypeError: it lacks one, or is no mapping.
    """
    return all(fits(_in_tuples(record[name]), kind) for name, kind in fields.items())


def _in_tuples(value: Any) -> Any:
    """Lists of lists as tuples of tuples, whose types can be checked item by item."""
    return tuple(map(_in_tuples, value)) if isinstance(value, list) else value
