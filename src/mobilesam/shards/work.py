"""What every kind of shard needs: its photos, prepared ahead, and the record that says that it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from mobilesam.ahead import read_ahead
from mobilesam.errors import MissingExtraError, MobileSamError, first_line
from mobilesam.files import save_json
from mobilesam.image import within_memory
from mobilesam.outputs import ALL
from mobilesam.processes import peak_mb
from mobilesam.remote import placing
from mobilesam.shards.job import Job, Shard
from mobilesam.shards.lost import check_store
from mobilesam.shards.tasks import Task

T = TypeVar("T")


@dataclass
class ShardResult:
    """Summary of one shard, as written to its record."""

    photos: int = 0
    photos_failed: int = 0
    """Photos without any result."""
    errors: list[list[str]] = field(default_factory=list)
    """(photo, reason) of each photo or prompt without a result."""
    bytes: int = 0
    """Size of the file."""
    peak_mb: float = 0.0
    """Peak memory of the worker so far; 0 where the system does not tell."""


@contextmanager
def writing(job: Job, shard: Shard, result: ShardResult) -> Iterator[Path]:
    """Yield the temporary path of a shard's file, which gets its name when the block ends; then the record is written.

    Args:
        job: the run.
        shard: the shard.
        result: what the block counts; its size and memory are filled in here.

    Raises:
        OSError: the result cannot be written.
    """
    started = time.perf_counter()
    with placing(job.result(shard.name)) as path:
        yield path
        result.bytes = path.stat().st_size
    result.peak_mb = round(peak_mb(), 1)
    seconds = round(time.perf_counter() - started, 2)
    save_json({**asdict(result), "seconds": seconds}, job.done_file(shard.name), ALL)


def readable(
    shard: Shard, result: ShardResult, prepare: Callable[[Task, bytes], T], *, threads: int, most: int
) -> Iterator[tuple[Task, T]]:
    """The photos of a shard that can be used, in order, prepared in threads; the others are noted.

    Args:
        shard: the shard.
        result: gets the errors.
        prepare: makes what is wanted of a photo and the bytes of its file, such as its pixels.
        threads: that read and prepare.
        most: photos that wait prepared.

    Raises:
        MissingExtraError: photos of this kind, such as those in Parquet files, cannot be read here.
        OSError: all photos are gone, with their store or their folder; see `mobilesam.shards.lost`.
    """

    def opened(task: Task) -> T | str:
        try:
            with within_memory("the photo"):
                return prepare(task, task.read())
        except MissingExtraError:  # of this machine, and no fault of the photo
            raise
        except (MobileSamError, OSError, ValueError) as error:
            check_store(error, task.photo, task.file.path, [one.file.path for one in shard.tasks])
            return first_line(error)

    for task, found in read_ahead(shard.tasks, opened, threads=threads, most=most):
        if isinstance(found, str):
            result.errors.append([str(task.photo), found])
            result.photos_failed += 1
        else:
            yield task, found
        shard.seen.photos += 1
