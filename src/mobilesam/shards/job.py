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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from mobilesam.data.photo import MALFORMED
from mobilesam.errors import DataError, SettingsError
from mobilesam.shards.records import ASKED, PLAN, has, records_of
from mobilesam.shards.tasks import Task
from mobilesam.text import parse_json

JOB_FILE, MANIFEST_FILE, PROBLEMS_FILE = "job.json", "manifest.jsonl", "problems.jsonl"
FORMAT = 2
"""Version of the folder's layout."""
FILE_NAME = re.compile("[0-9a-f]{16}")
"""Names of shards, which are names of files too."""
SUFFIX = re.compile(r"\.[a-z]{1,8}")


@dataclass
class Seen:
    """How far the work on a shard is."""

    photos: int = 0


@dataclass(frozen=True)
class Shard:
    """One line of the manifest."""

    name: str
    """Hash of the photos, the prompts, the model and the settings."""
    tasks: tuple[Task, ...]
    seen: Seen = field(default_factory=Seen, compare=False)
    """Counted while it is worked on."""


@dataclass(frozen=True)
class Job:
    """A planned run of any kind."""

    kind: ClassVar[str] = ""
    """What it makes: "annotate" or "embed"."""

    folder: Path
    asked: dict[str, Any]
    """What decides the results: inputs, model and settings."""
    choice: dict[str, Any]
    """How each worker loads the model."""
    results: str
    """Where the shards' results go: the folder `shards`, or an address in an object store."""
    suffix: str
    """Of the files of results."""
    num_photos: int
    num_prompts: int
    num_problems: int
    """Photos that could not even be planned."""
    names: tuple[str, ...] = field(repr=False)
    """Names of all shards, in the order of the manifest."""
    offsets: tuple[int, ...] = field(repr=False)
    """Where each line of the manifest starts, in bytes."""
    listings: dict[str, str] = field(repr=False)
    """Data set → checksum of the names and sizes of its photos."""

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.names)

    @property
    def model(self) -> dict[str, Any]:
        """Name, hash of the weights and image size of the model."""
        return dict(self.asked["model"])

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the results besides the photos."""
        others = ("inputs", "photos", "prompts", "results", "job")
        return {key: value for key, value in self.asked.items() if key not in others}

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
        return f"{self.results}/{name}{self.suffix}"

    def done_file(self, name: str) -> Path:
        """The record of a finished shard."""
        return self.folder / "done" / f"{name}.json"

    def failed_file(self, name: str) -> Path:
        """The record of a shard that was set aside."""
        return self.folder / "failed" / f"{name}.json"

    def finished(self) -> set[str]:
        """Names of the finished shards."""
        return {path.stem for path in records_of(self.folder / "done")}

    def set_aside(self) -> set[str]:
        """Names of the shards that failed three times."""
        return {path.stem for path in records_of(self.folder / "failed")}

    def unfinished(self) -> list[int]:
        """Indices of the shards that are neither done nor set aside."""
        over = self.finished() | self.set_aside()
        return [i for i, name in enumerate(self.names) if name not in over]


AnyJob = TypeVar("AnyJob", bound=Job)


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
        raise DataError(f"'{output}' holds no run of annotate or distill embed (no {JOB_FILE})") from None
    except (OSError, *MALFORMED) as error:
        raise DataError(f"'{output / JOB_FILE}' is damaged; give a new folder") from error
    return dict(record)


def open_job(output: Path, kind: type[AnyJob]) -> AnyJob:
    """Open the plan of a run.

    Args:
        output: folder of the run.
        kind: the class of the job; `Job` takes a run of any kind.

    Raises:
        DataError: there is none, it is damaged, or it is of another kind.
    """
    try:
        return _open_job(output, open_record(output), kind)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"'{output / JOB_FILE}' is damaged; give a new folder") from error


def _open_job(output: Path, record: dict[str, Any], kind: type[AnyJob]) -> AnyJob:
    try:
        size = (output / MANIFEST_FILE).stat().st_size
    except FileNotFoundError:
        size = -1
    if size != record["manifest_bytes"]:
        raise DataError(f"'{output / MANIFEST_FILE}' is missing or cut off; give a new folder")
    asked = record["asked"]
    is_plan = has(record, PLAN) and has(asked, ASKED) and len(record["names"]) == len(record["offsets"])
    is_plan = is_plan and max(record["offsets"], default=0) <= size  # each line begins inside the manifest
    is_plan = is_plan and all(map(FILE_NAME.fullmatch, record["names"]))
    if not (is_plan and SUFFIX.fullmatch(record["suffix"])):
        raise TypeError("an entry of another type or form")
    if kind.kind not in ("", asked["job"]):
        raise DataError(f"'{output}' holds a run of {asked['job']}, not of {kind.kind}; give another folder")
    return kind(
        output,
        asked,
        record["choice"],
        asked["results"] or str(output / "shards"),
        record["suffix"],
        record["num_photos"],
        record["num_prompts"],
        record["num_problems"],
        tuple(record["names"]),
        tuple(record["offsets"]),
        record["listings"],
    )
