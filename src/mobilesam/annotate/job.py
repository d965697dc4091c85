"""A planned run: its photos in shards, its settings, and the files of its folder.

OUTPUT/job.json         the model, the settings, the inputs; what a worker needs to start
OUTPUT/manifest.jsonl   a line for each shard: its name and its photos with their prompts
OUTPUT/shards/          the results, one file for each shard
OUTPUT/done/            a record for each finished shard, written last
OUTPUT/claims/          the shards that workers are writing, see `mobilesam.engines.claims`
OUTPUT/failed/          shards set aside after three failures, and why
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.tasks import Task
from mobilesam.errors import DataError, SettingsError
from mobilesam.recipe import from_dict

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
            record = json.loads(file.readline())
        return Shard(record["name"], tuple(map(Task.from_dict, record["tasks"])))

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
        record = json.loads((output / JOB_FILE).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise DataError(f"'{output}' was made by another version of mobilesam; give a new folder")
    except FileNotFoundError:
        raise DataError(f"'{output}' holds no annotation run (no {JOB_FILE})") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{output / JOB_FILE}' is damaged; give a new folder") from error
    return dict(record)


def open_job(output: Path) -> Job:
    """Open the plan of a run.

    Raises:
        DataError: there is none, or it is damaged.
    """
    record = open_record(output)
    try:
        size = (output / MANIFEST_FILE).stat().st_size
    except FileNotFoundError:
        size = -1
    if size != record["manifest_bytes"]:
        raise DataError(f"'{output / MANIFEST_FILE}' is missing or cut off; give a new folder")
    asked = record["asked"]
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
