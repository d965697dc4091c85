"""A worker: claims shards of a run and writes them, until all are done. Every engine runs this loop."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from mobilesam.annotate.job import DONE, JOB_FILE, Job, ModelChoice, open_job, read_record
from mobilesam.annotate.work import annotate_shard
from mobilesam.choices import BackendName, Precision
from mobilesam.engines.claims import MAX_TRIES, Claims, Pauses
from mobilesam.errors import DataError, MobileSamError, ModelError, first_line
from mobilesam.files import save_json
from mobilesam.outputs import ALL
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.remote import is_lost, is_remote, sizes_under
from mobilesam.temporaries import sweep

log = logging.getLogger(__name__)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
"""Errors of the output's disk, which no other try mends."""


@dataclass(frozen=True)
class AnnotateCrew:
    """The workers of a run, for an engine."""

    folder: Path
    """Of the run; absolute, because workers may start in other folders."""

    def work(self, number: int, threads: int | None) -> None:
        """See `mobilesam.engines.job.Crew`."""
        if not (self.folder / JOB_FILE).exists():
            raise DataError(
                f"'{self.folder}' is not to be seen from {socket.gethostname()}: the plan and the claims are in it, so "
                "every worker needs it under this path, as a network folder; only results and photos may be in a store"
            )
        run_worker(self.folder, threads=threads)

    def is_over(self) -> bool:
        """Whether every shard is done or set aside."""
        return not unfinished(self._job)

    @cached_property
    def _job(self) -> Job:
        """Read once, because an engine asks twice a second whether the run is over."""
        return open_job(self.folder)


def run_worker(folder: Path, *, threads: int | None) -> int:
    """Work on a run until every shard is done or set aside, by whomever.

    Args:
        folder: of the run.
        threads: of the model, per operator; None lets the runtime choose.

    Returns:
        The number of shards that this worker wrote.

    Raises:
        ModelError: the model here is not the one of the plan.
        DataError: the output's disk is full or gone.
    """
    job = open_job(folder)
    predictor = open_model(job, threads)
    claims = Claims(folder / "claims")
    sweep(folder / "shards")
    written, pauses = 0, Pauses()
    while todo := unfinished(job):
        taken = sum(work_on(job, i, predictor, claims) for i in claims.choose(job.names, todo))
        written += taken
        if taken:
            pauses = Pauses()
        else:
            time.sleep(pauses.next())  # others hold what is left; should one die, its shard is taken over
    return written


def open_model(job: Job, threads: int | None) -> Predictor:
    """Load the model of a run.

    Raises:
        ModelError: it is another one than the plan was made with.
    """
    predictor = load_choice(job.choice, threads)
    if predictor.info.weights_sha256 != job.model["weights_sha256"]:
        raise ModelError(
            f"'{job.choice.model}' is not the model that '{job.folder}' was planned with; give this worker the same"
        )
    return predictor


def load_choice(choice: ModelChoice, threads: int | None) -> Predictor:
    """Load a model as a run names it."""
    return load(
        choice.model,
        backend=cast("BackendName", choice.backend),
        precision=cast("Precision", choice.precision),
        image_size=choice.image_size,
        device=choice.device,
        threads=threads,
    )


def backend_name(predictor: Predictor) -> str:
    """The backend that a model was loaded with, by the name that `load` takes."""
    module = type(predictor.backend).__module__.rpartition(".")[2]
    return "torch" if module == "backend" else module


def unfinished(job: Job) -> list[int]:
    """Indices of the shards that are neither done nor set aside."""
    over = job.finished() | job.set_aside()
    return [i for i, name in enumerate(job.names) if name not in over]


def work_on(job: Job, index: int, predictor: Predictor, claims: Claims) -> bool:
    """Claim and write one shard; False if it is done already or another worker holds it.

    Raises:
        DataError: the output's disk is full or gone, or a store does not answer.
    """
    name = job.names[index]
    if job.done_file(name).exists() or job.failed_file(name).exists() or not claims.take(name):
        return False
    if job.done_file(name).exists():  # it was finished between the two looks
        claims.forget(name)
        return False
    if claims.tries(name) > MAX_TRIES:
        set_aside(job, name, "it was begun three times, and its worker died each time", claims)
        return False
    try:
        with claims.holding(name):
            annotate_shard(job, job.shard(index), predictor)
    except (KeyboardInterrupt, SystemExit):
        claims.release(name, counts=False)
        raise
    except Exception as error:  # whatever a photo does to the model must not end the run
        if isinstance(error, OSError) and error.errno in FULL:
            claims.release(name, counts=False)
            raise DataError(f"'{job.folder}' cannot be written: {os.strerror(error.errno or 0)}") from error
        if is_lost(error):
            claims.release(name, counts=False)
            raise DataError(f"{first_line(error)}; run the command again when it is there") from error
        fail(job, name, error, claims)
        return False
    claims.forget(name)
    return True


def fail(job: Job, name: str, error: Exception, claims: Claims) -> None:
    """Give a shard back after a failure, or set it aside after the third."""
    reason = first_line(error) if isinstance(error, MobileSamError) else f"{type(error).__name__}: {first_line(error)}"
    log.warning("shard %s failed: %s", name, reason)
    if claims.tries(name) >= MAX_TRIES:
        set_aside(job, name, reason, claims)
    else:
        claims.release(name)


def set_aside(job: Job, name: str, reason: str, claims: Claims) -> None:
    """Record that a shard is not tried again."""
    save_json({"shard": name, "reason": reason}, job.failed_file(name), ALL)
    claims.forget(name)


def tidy(job: Job) -> None:
    """Remove what workers left that died or were stopped: claims on finished shards, and half-written files."""
    sweep(job.folder / "shards")
    claims = Claims(job.folder / "claims")
    for path in claims.folder.iterdir():
        name = path.name.removesuffix(".tries")
        if job.done_file(name).exists() or job.failed_file(name).exists():
            claims.forget(name)


def redo_missing(job: Job) -> int:
    """Forget finished shards whose results are gone or cut off, so that they are made again; returns their number."""
    there = sizes_under(job.results) if is_remote(job.results) else None
    lost = 0
    for name in job.finished():
        path = job.result(name)
        try:
            record = read_record(job.done_file(name), DONE)
            size = os.stat(path).st_size if there is None else there.get(path.rpartition("/")[2])
            is_gone = size != record["bytes"]
        except (FileNotFoundError, DataError):  # a damaged record says nothing about the results
            is_gone = True
        if is_gone:
            job.done_file(name).unlink(missing_ok=True)
            lost += 1
    if lost:
        log.warning("the results of %d finished shards are gone or cut off; they are made again", lost)
    return lost
