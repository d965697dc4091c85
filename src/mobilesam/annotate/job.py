"""A planned run: its photos in shards, its settings, and the files of its folder.

OUTPUT/job.json         the model, the settings, the inputs; what a worker needs to start
OUTPUT/manifest.jsonl   a line for each shard: its name and its photos with their prompts
OUTPUT/shards/          the results, one file for each shard
OUTPUT/done/            a record for each finished shard, written last
OUTPUT/claims/          the shards that workers are writing, see `mobilesam.engines.claims`
OUTPUT/failed/          shards set aside after three failures, and why
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.tasks import Task
from mobilesam.data.photo import MALFORMED
from mobilesam.errors import DataError, SettingsError
from mobilesam.recipe import from_dict
from mobilesam.settings import Range, fits
from mobilesam.text import parse_json

JOB_FILE, MANIFEST_FILE, PROBLEMS_FILE = "job.json", "manifest.jsonl", "problems.jsonl"
SUFFIX = {"sa1b": ".tar", "parquet": ".parquet"}
FORMAT = 1
"""Version of the folder's layout."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """How each worker loads the model; see `mobilesam.load`."""

    model: str
    backend: str
    precision: str = "float32"
    image_size: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Shard:
    """One line of the manifest."""

    name: str
    """Hash of the photos, the prompts, the model and the settings."""
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Job:
    """A planned run."""

    folder: Path
    choice: ModelChoice
    settings: AnnotateSettings
    model: dict[str, Any]
    """Name, hash of the weights and image size of the model."""
    results: str
    """Where the shards' results go: the folder `shards`, or an address in an object store."""
    num_photos: int
    num_prompts: int
    names: tuple[str, ...]
    """Names of all shards, in the order of the manifest."""
    offsets: tuple[int, ...]
    """Where each line of the manifest starts, in bytes."""

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.names)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the results besides the photos."""
        return identity_of(self.choice, self.settings, self.model)

    def shard(self, index: int) -> Shard:
        """Read one line of the manifest."""
        with (self.folder / MANIFEST_FILE).open("rb") as file:
            file.seek(self.offsets[index])
            line = file.readline()
        try:
            record = parse_json(line)
            return Shard(record["name"], tuple(map(Task.from_dict, record["tasks"])))
        except MALFORMED as error:
            raise DataError(f"'{self.folder / MANIFEST_FILE}' is damaged; give a new folder") from error

    def result(self, name: str) -> str:
        """The file of results of a shard: its path, or its address in an object store."""
        return f"{self.results}/{name}{SUFFIX[self.settings.form]}"

    def done_file(self, name: str) -> Path:
        """The record of a finished shard."""
        return self.folder / "done" / f"{name}.json"

    def failed_file(self, name: str) -> Path:
        """The record of a shard that was set aside."""
        return self.folder / "failed" / f"{name}.json"

    def finished(self) -> set[str]:
        """Names of the finished shards."""
        return _stems(self.folder / "done")

    def set_aside(self) -> set[str]:
        """Names of the shards that failed three times."""
        return _stems(self.folder / "failed")


def read_record(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a shard.

    Args:
        path: of a file in `done` or `failed`.
        fields: the entries that it must have, with their types.

    Raises:
        DataError: it is damaged; says how the shard is made again.
        FileNotFoundError: it is missing.
    """
    try:
        record = parse_json(path.read_bytes())
        if all(fits(_in_tuples(record[name]), kind) for name, kind in fields.items()):
            return dict(record)
    except MALFORMED:
        pass
    raise DataError(f"'{path}' is damaged; delete it and start the run again, which makes its shard anew")


def read_records(folder: Path, fields: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a folder, by the names of their shards; one that is being replaced is left out."""
    for path in sorted(folder.glob("*.json")):
        if not path.name.startswith("."):
            yield path.stem, read_record(path, fields)


def _in_tuples(value: Any) -> Any:
    """Lists of lists as tuples of tuples, whose types can be checked item by item."""
    return tuple(map(_in_tuples, value)) if isinstance(value, list) else value


Number = Annotated[float, Range(low=0)]
DONE: dict[str, Any] = {
    **dict.fromkeys(("photos", "masks", "bytes", "seconds", "second_looks", "second_look_seconds", "peak_mb"), Number),
    "errors": tuple[tuple[str, str], ...],
    "worst": tuple[tuple[float | str, float | str, float | str], ...],
}
"""Entries of a record in `done`."""
FAILED: dict[str, Any] = {"reason": str}
"""Entries of a record in `failed`."""
PLAN: dict[str, Any] = {
    "asked": dict,
    "choice": dict,
    "num_photos": int,
    "num_prompts": int,
    "names": tuple[str, ...],
    "offsets": tuple[Annotated[int, Range(low=0)], ...],
}
"""Entries of `JOB_FILE`."""
ASKED: dict[str, Any] = {"settings": dict, "model": dict, "results": str | None}
"""What its entry "asked" holds of what a job needs."""


def _stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.json") if not path.name.startswith(".")}


def identity_of(choice: ModelChoice, settings: AnnotateSettings, model: dict[str, Any]) -> dict[str, Any]:
    """What decides the results besides the photos: model, runtime and settings."""
    runtime = {"backend": choice.backend, "precision": choice.precision, "device": choice.device}
    return {"model": model, **runtime, "settings": asdict(settings)}


def check_output(output: Path) -> None:
    """Refuse an address in an object store, which the command line gives as a path.

    Raises:
        SettingsError: it is one; says what to give.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", output.as_posix()):  # two letters or more: C:/ is a drive
        raise SettingsError(
            f"'{output}' is in an object store, but the output must be a folder that every worker sees: the plan and "
            "the claims are in it; give a folder, and --results s3://BUCKET/PREFIX for the shards"
        )


def open_record(output: Path) -> dict[str, Any]:
    """The contents of job.json.

    Raises:
        DataError: there is none, or it is damaged or of another version.
        SettingsError: the folder is an address.
    """
    check_output(output)
    try:
        record = parse_json((output / JOB_FILE).read_bytes())
        if record["format"] != FORMAT:
            raise DataError(f"'{output}' was made by another version of mobilesam; give a new folder")
    except FileNotFoundError:
        raise DataError(f"'{output}' holds no annotation run (no {JOB_FILE})") from None
    except (OSError, *MALFORMED) as error:
        raise DataError(f"'{output / JOB_FILE}' is damaged; give a new folder") from error
    return dict(record)


def open_job(output: Path) -> Job:
    """Open the plan of a run.

    Raises:
        DataError: there is none, or it is damaged.
    """
    try:
        return _open_job(output, open_record(output))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"'{output / JOB_FILE}' is damaged; give a new folder") from error


def _open_job(output: Path, record: dict[str, Any]) -> Job:
    try:
        size = (output / MANIFEST_FILE).stat().st_size
    except FileNotFoundError:
        size = -1
    if size != record["manifest_bytes"]:
        raise DataError(f"'{output / MANIFEST_FILE}' is missing or cut off; give a new folder")
    if not all(fits(_in_tuples(record[name]), kind) for name, kind in PLAN.items()):
        raise TypeError("an entry of another type")
    asked = record["asked"]
    if not all(fits(asked[name], kind) for name, kind in ASKED.items()):
        raise TypeError("an entry of another type")
    return Job(
        output,
        ModelChoice(**record["choice"]),
        from_dict(AnnotateSettings, asked["settings"]),
        asked["model"],
        asked["results"] or str(output / "shards"),
        record["num_photos"],
        record["num_prompts"],
        tuple(record["names"]),
        tuple(record["offsets"]),
    )
