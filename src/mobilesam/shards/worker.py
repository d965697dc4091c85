"""A worker: claims shards of a run and writes them, until all are done. Every engine runs this loop."""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mobilesam import files
from mobilesam.engines.claims import MAX_TRIES, Claims, Pauses
from mobilesam.errors import DataError, MissingExtraError, MobileSamError, ModelError, first_line
from mobilesam.files import save_json
from mobilesam.outputs import ALL
from mobilesam.remote import is_lost, is_remote, sizes_under
from mobilesam.shards.job import JOB_FILE, Job, Shard, open_job
from mobilesam.shards.records import read_done
from mobilesam.temporaries import sweep

log = logging.getLogger(__name__)
FULL = files.FULL | {errno.EROFS, errno.ESTALE}
"""Errors of the output's disk, which no other try mends."""


Write = Callable[[Shard], None]
"""Writes one shard and its record; the same shard gives the same bytes, wherever it is done."""
Begin = Callable[[Path, "int | None"], tuple[Job, Write]]
"""Opens the run in a folder and loads its model for a number of threads; a function of a module, for other processes
and machines."""


@dataclass(frozen=True)
class ShardCrew:
    """The workers of a run, for an engine."""

    folder: Path
    """Of the run; absolute, because workers may start in other folders."""
    begin: Begin

    def work(self, threads: int | None) -> Iterator[None]:
        """See `mobilesam.engines.job.Crew`."""
        if not (self.folder / JOB_FILE).exists():
            raise DataError(
                f"'{self.folder}' is not to be seen from {socket.gethostname()}: the plan and the claims are in it, so "
                "every worker needs it under this path, as a network folder; only results and photos may be in a store"
            )
        yield from finishing(self.folder, self.begin, threads=threads)

    def is_over(self) -> bool:
        """Whether every shard is done or set aside."""
        return not self._job.unfinished()

    @cached_property
    def _job(self) -> Job:
        """Read once, because an engine asks twice a second whether the run is over."""
        return open_job(self.folder, Job)


def run_worker(folder: Path, begin: Begin, *, threads: int | None) -> int:
    """Work on a run until every shard is done or set aside; returns the number of shards that this worker wrote.

    Arguments and errors are those of `finishing`.
    """
    return sum(1 for _ in finishing(folder, begin, threads=threads))


def finishing(folder: Path, begin: Begin, *, threads: int | None) -> Iterator[None]:
    """Work on a run until all its shards are done or set aside, by this worker or others.

    Args:
        folder: of the run.
        begin: opens the run and loads its model.
        threads: of the model, per operator; None lets the runtime choose.

    Yields:
        After each shard that this worker wrote.

    Raises:
        ModelError: the model here is not the one of the plan, or is damaged.
        MissingExtraError: an extra is needed.
        DataError: the output's disk is full or gone.
    """
    job, write = begin(folder, threads)
    claims = Claims(folder / "claims")
    sweep(folder / "shards")
    pauses = Pauses()
    while todo := job.unfinished():
        has_written = False
        for index in claims.choose(job.names, todo):
            if work_on(job, index, write, claims):
                has_written = True
                yield
        if has_written:
            pauses = Pauses()
        else:
            time.sleep(pauses.next())  # others hold what is left; should one die, its shard is taken over


def work_on(job: Job, index: int, write: Write, claims: Claims) -> bool:
    """Claim and write one shard; False if it is done already or another worker holds it.

    Raises:
        DataError: the output's disk is full or gone, or a store does not answer.
        ModelError, MissingExtraError: no shard can be worked on here, because of the model or of what is installed.
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
        shard = job.shard(index)
        with claims.holding(name, lambda: shard.seen.photos):
            write(shard)
    except (KeyboardInterrupt, SystemExit):
        claims.release(name, counts=False)
        raise
    except Exception as error:  # whatever a photo does to the model must not end the run
        if isinstance(error, OSError) and error.errno in FULL:
            claims.release(name, counts=False)
            raise DataError(f"'{job.folder}' cannot be written: {os.strerror(error.errno or 0)}") from error
        if isinstance(error, ModelError | MissingExtraError):  # of this machine: every other shard would fail too
            claims.release(name, counts=False)
            raise
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
    """Forget finished shards whose results are gone or cut off, so that they are made again; returns their number.

    Raises:
        OSError: the store of the results does not answer, or has no such bucket.
    """
    names = job.finished()  # before the results are listed: other machines go on finishing shards
    there = sizes_under(job.results) if is_remote(job.results) else None
    lost = 0
    for name in names:
        path = job.result(name)
        try:
            record = read_done(job.done_file(name))
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
