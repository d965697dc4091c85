"""One call of `mobilesam annotate`: plan, work, report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from mobilesam.annotate.job import Job, ModelChoice, open_record
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import write_report
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.status import Counter, Status
from mobilesam.annotate.worker import AnnotateCrew, backend_name, load_choice, redo_missing, tidy
from mobilesam.choices import Engine
from mobilesam.engines import run_crew
from mobilesam.errors import SettingsError

LOG_EVERY = 60.0  # seconds between two lines of the log


@dataclass(frozen=True)
class Outcome:
    """The result of a call."""

    job: Job
    status: Status
    files: list[Path]
    """Report, errors, contact sheet and COCO file."""
    problems: int
    """Photos that could not even be planned."""


def annotate(
    inputs: Sequence[str],
    output: Path,
    *,
    choice: ModelChoice,
    settings: AnnotateSettings | None = None,
    prompts: Path | None = None,
    photos: Path | None = None,
    engine: Engine = "local",
    workers: int = 1,
    threads: int | None = None,
    address: str | None = None,
    coco: bool = False,
    results: str = "",
    show_progress: bool = False,
    log: Callable[[str], None] | None = None,
) -> Outcome:
    """Find masks for every photo of the inputs, in shards, resuming what is there.

    Args:
        inputs: see `mobilesam.annotate.inputs.find_tasks`.
        output: folder of the run.
        choice: the model.
        settings: what to ask and how to write; None for the defaults.
        prompts: file of boxes or points.
        photos: folder of the photos of COCO inputs.
        engine: "local", processes on this machine; "ray", actors on a cluster.
        workers: number of processes or actors.
        threads: of each.
        address: of a Ray cluster.
        results: address in an object store for the shards' results; "" for the folder `shards` of the output.
        coco: merge all masks into one COCO file at the end.
        show_progress: draw a progress bar.
        log: takes one JSON line a minute.

    Raises:
        DataError: an input cannot be read, the output's disk is full, or every worker ended with an error.
        SettingsError: the output holds a run of other inputs, settings or another model.
        MissingExtraError: an extra is needed.
    """
    if address is not None and engine != "ray":
        raise SettingsError("an address is of a Ray cluster; it needs the engine ray")
    started = time.monotonic()
    predictor = load_choice(choice, 1)
    choice = replace(choice, backend=backend_name(predictor))  # "auto" could mean another one on another machine
    asked = (inputs, output, predictor, choice, settings or AnnotateSettings())
    job = make_plan(*asked, prompts=prompts, photos=photos, results=results)
    del predictor  # each worker has its own
    redo_missing(job)
    progress = Progress(job, show_progress, log)
    crew = AnnotateCrew(output.absolute())
    try:
        run_crew(crew, engine, workers, threads, address, progress.update)
    finally:
        with suppress(OSError):  # of a disk that is gone, which is told already
            tidy(job)
    status = progress.finish()
    files = write_report(job, status, wall_seconds=time.monotonic() - started, coco=coco)
    return Outcome(job, status, files, int(open_record(output)["num_problems"]))


@dataclass
class Progress:
    """The progress bar and the log of a run, from its folder."""

    job: Job
    show: bool
    log: Callable[[str], None] | None
    started: float = field(default_factory=time.monotonic)
    logged: float = 0.0

    def __post_init__(self) -> None:
        self.counter = Counter(self.job)
        done = self.counter.status().photos_done
        self.bar = tqdm(total=self.job.num_photos, initial=done, unit="photo", disable=not self.show, file=sys.stderr)
        self.first = done

    def update(self) -> None:
        """Look at the folder; at most once a second for the bar, once a minute for the log."""
        status = self.counter.status()
        self.bar.n = status.photos_done
        failed = f", {len(status.set_aside)} shards set aside" if status.set_aside else ""
        self.bar.set_postfix_str(f"{status.errors} errors{failed}", refresh=False)
        self.bar.refresh()
        if self.log is not None and time.monotonic() - max(self.logged, self.started) >= LOG_EVERY:
            self.logged = time.monotonic()
            self.log(json.dumps(self.record(status)))

    def record(self, status: Status) -> dict[str, object]:
        """A line of the log."""
        seconds = time.monotonic() - self.started
        rate = (status.photos_done - self.first) / seconds if seconds else 0.0
        left = (status.photos - status.photos_done - status.errors) / rate if rate else None
        speed = {"photos_per_second": round(rate, 2), "seconds_left": left and round(max(0.0, left))}
        return {**speed, **asdict(status)}

    def finish(self) -> Status:
        """The state at the end."""
        self.update()
        self.bar.close()
        return self.counter.status()
