"""One call of a job: work, watched from outside, then report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from mobilesam.choices import Engine
from mobilesam.engines import run_crew
from mobilesam.engines.room import default_workers
from mobilesam.errors import SettingsError
from mobilesam.settings import check_workers
from mobilesam.shards.changes import with_changes
from mobilesam.shards.job import Job
from mobilesam.shards.status import Counter, Status
from mobilesam.shards.worker import Begin, ShardCrew, redo_missing, tidy

LOG_EVERY = 60.0  # seconds between two lines of the log
LOOK_SHARE = 20  # time between two looks at the folder, for each second that a look takes


Report = Callable[[Status, float, int], "list[Path]"]
"""Writes the report of a state, the seconds of this call and the photos finished in them; returns the files."""


@dataclass(frozen=True)
class Outcome:
    """The result of a call."""

    job: Job
    status: Status
    files: list[Path]
    """What was written about the run as a whole, such as its report."""
    problems: int
    """Photos and prompts that could not even be planned."""

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for has a result, and of the photos as they are."""
        return not (self.status.errors or self.status.set_aside or self.problems or self.status.changed)


@dataclass(frozen=True, kw_only=True)
class Running:
    """Who does the work of a call, and who is told about it."""

    engine: Engine = "local"
    """"local", processes on this machine; "ray", actors on a cluster."""
    workers: int | None = None
    """Number of processes or actors; None for one for each core of this machine, as far as memory and work go, and for
    one on a GPU or on a running Ray cluster."""
    threads: int | None = None
    """Of each; None divides the cores among them."""
    address: str | None = None
    """Of a running Ray cluster; None starts Ray on this machine."""
    show_progress: bool = False
    """Draw a progress bar."""
    log: Callable[[str], None] | None = None
    """Takes one JSON line a minute."""
    device: str = "cpu"
    """Of the models, as the user named it."""

    def __post_init__(self) -> None:
        if self.address is not None and self.engine != "ray":
            raise SettingsError("an address is of a Ray cluster; it needs the engine ray")
        if self.workers is not None:
            check_workers(self.workers)

    def on(self, device: str, found: str | None = None) -> Running:
        """The same for models on a device; a GPU has one worker unless the user gives another number.

        Args:
            device: as the user named it; on a cluster "auto" may mean something else than here.
            found: what it is on this machine; None for the same.
        """
        is_many = self.workers or (found or device) == "cpu"
        return replace(self, device=device, workers=self.workers if is_many else 1)


def run_job(job: Job, begin: Begin, running: Running, report: Report, *, worker_mb: float) -> Outcome:
    """Do what is missing of a planned run, and write its report.

    Args:
        job: the run.
        begin: what each worker calls first.
        running: engine and workers.
        report: writes the report of the run.
        worker_mb: memory that a worker is expected to take in megabytes, for the number of workers.

    Raises:
        DataError: the output's disk is full, or every worker ended with an error.
        MissingExtraError: an extra is needed.
    """
    started = time.monotonic()
    redo_missing(job)
    progress = Progress(job, running.show_progress, running.log)
    crew = ShardCrew(job.folder.absolute(), begin)
    before, todo = job.finished(), len(job.unfinished())
    workers = running.workers or (1 if running.address else default_workers(worker_mb, todo))
    try:
        if todo:
            workers = min(workers, todo)  # more would wait for nothing
            run_crew(crew, running.engine, workers, running.threads, running.address, progress.update, running.device)
        # After the work, since millions take minutes; shards of this call compared their photos when they read them.
        status = with_changes(progress.finish(), job, before)
    finally:
        progress.bar.close()
        with suppress(OSError):  # of a disk that is gone, which is told already
            tidy(job)
    files = report(status, time.monotonic() - started, status.photos_done - progress.done_before)
    return Outcome(job, status, files, job.num_problems)


def past(status: Status) -> int:
    """Photos that need no more work: with a result, with an error that counts for a photo, or in a running shard."""
    return min(status.photos, status.photos_done + status.photos_failed + status.photos_running)


@dataclass
class Progress:
    """The progress bar and the log of a run, from its folder."""

    job: Job
    show: bool
    log: Callable[[str], None] | None
    started: float = field(default_factory=time.monotonic)
    logged: float = 0.0
    next_look: float = 0.0

    def __post_init__(self) -> None:
        self.counter = Counter(self.job)
        before = self.counter.status()
        self.first, self.done_before = past(before), before.photos_done
        total = self.job.num_photos
        self.bar = tqdm(total=total, initial=self.first, unit="photo", disable=not self.show, file=sys.stderr)

    def update(self) -> None:
        """Look at the folder, as often as the bar and the log need; engines call this twice a second."""
        now = time.monotonic()
        is_due = self.log is not None and now - max(self.logged, self.started) >= LOG_EVERY
        if not is_due and (not self.show or now < self.next_look):
            return
        status = self.counter.status()
        # Claims of a thousand workers in a network folder take long to read; looking takes a twentieth of the time.
        self.next_look = now + (LOOK_SHARE - 1) * (time.monotonic() - now)
        self.draw(status)
        if self.log is not None and is_due:
            self.logged = now
            self.log(json.dumps(self.record(status)))

    def draw(self, status: Status) -> None:
        """Draw the bar."""
        self.bar.n = past(status)
        failed = f", {len(status.set_aside)} shards set aside" if status.set_aside else ""
        self.bar.set_postfix_str(f"{status.errors} errors{failed}", refresh=False)
        self.bar.refresh()

    def record(self, status: Status) -> dict[str, object]:
        """A line of the log."""
        seconds = time.monotonic() - self.started
        rate = (past(status) - self.first) / seconds if seconds else 0.0
        left = (status.photos - past(status)) / rate if rate > 0 else None
        speed = {"photos_per_second": round(rate, 2), "seconds_left": left and round(max(0.0, left))}
        state = asdict(status)
        del state["changed"], state["changed_photos"]  # which are looked up at the end
        return {**speed, **state}

    def finish(self) -> Status:
        """The state at the end."""
        status = self.counter.status()
        self.draw(status)
        self.bar.close()
        return status
