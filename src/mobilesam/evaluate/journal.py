"""Journal of a running evaluation: a file of finished photos, from which an interrupted run continues.

A result is used again only if a new run would give the same: the settings, the weights of both models, the photo and
its annotation must be those that it was made with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilesam.data.photo import MALFORMED, PhotoId
from mobilesam.errors import DataError, OutputError
from mobilesam.evaluate.photo import Models
from mobilesam.evaluate.records import EvaluatedPhoto
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.files import replacing
from mobilesam.integrity import HASHES, read_card
from mobilesam.outputs import ALL
from mobilesam.predict.identity import numbers_stored, precision_of
from mobilesam.text import parse_json

STATE = "state"
"""Key of a line: `data.checksums.state_checksum` of the photo when its run began."""


def identify(settings: EvaluateSettings, models: Models) -> str:
    """Hash of what the results of all photos depend on: the settings, and both models with their weights."""
    loaded = [(settings.model, models.student), (settings.teacher, models.teacher)]
    # Exported files of one model may be of several precisions; their folder lists a hash of each file.
    parts: list[Any] = [
        [asdict(one.info), read_card(name).get(HASHES) if Path(name).is_dir() else numbers_stored(one.backend) or None]
        for name, one in loaded
        if one is not None
    ]
    # Only where the processor does not compute in what was asked for, so that journals of earlier versions stay valid.
    computed = precision_of(models.student.backend)
    parts += [computed] if computed != settings.precision else []
    return hashlib.sha256(json.dumps([settings.fingerprint, *parts], sort_keys=True).encode()).hexdigest()


def head_line(fingerprint: str) -> str:
    """The first line of a journal, which says what its results were made with."""
    return json.dumps({"fingerprint": fingerprint}) + "\n"


def to_line(result: EvaluatedPhoto, state: str) -> str:
    """The line of a finished photo."""
    return json.dumps({**result.to_dict(), STATE: state}) + "\n"


def read_journal(path: Path, fingerprint: str, states: Mapping[PhotoId, str]) -> dict[PhotoId, EvaluatedPhoto]:
    """Read the results of an interrupted run that are still valid, and remove all others from the file.

    A kill cuts off the last line, and a power cut leaves zeros; these photos are evaluated again, as are those that
    have changed. A journal of other settings or models is deleted, because its results must not be mixed in.

    Args:
        path: the journal; it need not exist.
        fingerprint: `identify` of this run.
        states: `data.checksums.state_checksum` of each photo of this run; empty for one that cannot be found.

    Raises:
        OutputError: the file was not written by us.
    """
    if not path.exists():
        return {}
    first, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    if first.endswith(b"\n") and b'{"fingerprint": "' not in first and first.strip(b"\0\n"):
        raise OutputError(f"'{path}' is no journal of an evaluation; move it, or give another --output")
    if not is_of(first, fingerprint):
        path.unlink()
        return {}
    kept = [(line, result) for line in lines if (result := parse_line(line, states)) is not None]
    # Written back without the dropped lines, or the next result would be appended to a cut-off one.
    with replacing(path, ALL) as partial:
        partial.write_bytes(b"".join([first, *(line for line, _ in kept)]))
    return {result.photo: result for _, result in kept}


def is_of(first: bytes, fingerprint: str) -> bool:
    """Whether the first line of a journal has this fingerprint."""
    try:
        record = parse_json(first)
    except DataError:
        return False
    return first.endswith(b"\n") and isinstance(record, dict) and record.get("fingerprint") == fingerprint


def parse_line(line: bytes, states: Mapping[PhotoId, str]) -> EvaluatedPhoto | None:
    """The result in a line of a journal; None where the line is damaged or cut off, or its photo has changed."""
    if not line.endswith(b"\n"):
        return None
    try:
        record: Any = parse_json(line)
        result = EvaluatedPhoto.from_dict(record)
        return result if record[STATE] and record[STATE] == states.get(result.photo) else None
    except MALFORMED:
        return None
