"""The state of a run, read from its folder alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam.engines.claims import Claims, count_in
from mobilesam.shards.job import Job, open_job
from mobilesam.shards.records import all_failed, read_done
from mobilesam.text import counted


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a run is."""

    job: str
    """What it makes: "annotate" or "embed"."""
    shards: int
    done: int
    running: int
    """Shards whose workers live."""
    abandoned: int
    """Shards whose workers died; they are taken over."""
    set_aside: dict[str, str]
    """Shards that failed three times, and why."""
    photos: int
    photos_done: int
    """In finished shards."""
    errors: int
    """Photos and prompts of finished shards without a result."""
    bytes: int
    seconds: float
    """Time that workers spent on finished shards, together."""
    problems: int = 0
    """Photos and prompts that could not even be planned."""
    photos_failed: int = 0
    """Photos of finished shards that could not be read."""
    photos_running: int = 0
    """In shards that are being written, as far as their workers have told."""
    masks: int = 0
    second_looks: int = 0
    second_look_seconds: float = 0.0
    """Part of `seconds`."""
    worker_mb: float = 0.0
    """Peak memory of the worker that took most; 0 where no system told."""
    changed: int = 0
    """Photos of finished shards whose files changed since; only where they were looked up, see `shards.changes`."""
    changed_photos: tuple[str, ...] = ()
    """The first of them."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.done + len(self.set_aside) == self.shards

    @property
    def worker_rates(self) -> tuple[float, float]:
        """Photos/s of one worker: as it was, and without the time of second looks; 0 before there are results."""
        with_looks, without = self.seconds, self.seconds - self.second_look_seconds
        return (
            self.photos_done / with_looks if with_looks > 0 else 0.0,
            self.photos_done / without if without > 0 else 0.0,
        )

    def text(self) -> str:
        """For people."""
        rate = f", {self.worker_rates[0]:.1f} photos/s for each worker" if self.seconds else ""
        lines = [f"{self.done} of {self.shards} shards done, {self.running} running, {self.abandoned} abandoned"]
        masks = f", {self.masks} masks" if self.job == "annotate" else ""
        begun = f" and {self.photos_running} in running shards" if self.photos_running else ""
        lines += [f"{self.photos_done} of {self.photos} photos{begun}{masks}, {self.errors} errors{rate}"]
        if self.problems:
            lines += [f"{self.problems} photos or prompts could not be planned, see problems.jsonl"]
        if self.changed:
            more = (
                f" and {self.changed - len(self.changed_photos)} more"
                if self.changed > len(self.changed_photos)
                else ""
            )
            lines += [
                f"{counted(self.changed, 'photo')} changed after their results were made: "
                f"{', '.join(self.changed_photos)}{more}; give another --output for new results of them, or put their "
                "old files back"
            ]
        lines += [f"set aside: {name}: {reason}" for name, reason in self.set_aside.items()]
        return "\n".join(lines)


class Counter:
    """Counts the finished shards of a run; each record is read once, however often one asks.

    Args:
        job: the run.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.records: dict[str, dict[str, Any]] = {}

    def status(self) -> Status:
        """The state now."""
        for name in self.job.finished() - self.records.keys():
            record = read_done(self.job.done_file(name))
            # Only the numbers: the photos' names of a million photos would not fit in memory.
            self.records[name] = {**record, "errors": len(record["errors"]), "worst": ()}
        held = Claims(self.job.folder / "claims").held()
        alive = [name for name, lives in held.items() if lives and name not in self.records]
        dead = sum(not lives for name, lives in held.items() if name not in self.records)
        done = self.records.values()
        return Status(
            job=str(self.job.asked["job"]),
            shards=self.job.num_shards,
            done=len(self.records),
            running=len(alive),
            abandoned=dead,
            set_aside={name: record["reason"] for name, record in all_failed(self.job.folder)},
            photos=self.job.num_photos,
            photos_done=sum(r["photos"] for r in done),
            problems=self.job.num_problems,
            photos_failed=sum(r["photos_failed"] for r in done),
            photos_running=sum(count_in(self.job.folder / "claims" / name) for name in alive),
            masks=sum(r.get("masks", 0) for r in done),
            errors=sum(r["errors"] for r in done),
            bytes=sum(r["bytes"] for r in done),
            seconds=round(sum(r["seconds"] for r in done), 2),
            second_looks=sum(r.get("second_looks", 0) for r in done),
            second_look_seconds=round(sum(r.get("second_look_seconds", 0.0) for r in done), 2),
            worker_mb=max((r["peak_mb"] for r in done), default=0.0),
        )


def read_status(folder: Path) -> Status:
    """The state of a run, from its folder.

    Raises:
        DataError: the folder holds no run.
    """
    return Counter(open_job(folder, Job)).status()
