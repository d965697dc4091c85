"""Photos that changed after their shard was finished: its results are of what they were before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mobilesam.data.files import file_state
from mobilesam.remote import is_remote
from mobilesam.shards.job import Job
from mobilesam.shards.status import Status

NAMED = 10  # of the changed photos
State = tuple[int, int]


def with_changes(status: Status, job: Job, finished: Collection[str] | None = None) -> Status:
    """The state of a run with the photos of its finished shards that are not the planned ones any more.

    Files on disk are looked up, not read, which takes one to two seconds for 100,000 photos on a local disk. One that
    is gone has not changed: results outlive their photos, and another machine may not see them. Photos in object stores
    are not looked up.

    Args:
        status: the state.
        job: the run.
        finished: names of the shards to look up; None for all that are finished.
    """
    done, count, first = job.finished() if finished is None else finished, 0, list[str]()
    for index in (i for i, name in enumerate(job.names) if name in done):
        states: dict[str, State | None] = {}  # a tar or a Parquet file holds many photos
        for task in job.shard(index).tasks:
            path = task.file.path
            if path not in states:
                states[path] = state_of(path)
            if states[path] not in (None, task.state):
                count += 1
                first += [str(task.photo)] if count <= NAMED else []
    return replace(status, changed=count, changed_photos=tuple(first))


def state_of(path: str) -> State | None:
    """The size and the time of a file on disk; None for one that is gone, and for an object in a store."""
    try:
        return None if is_remote(path) else file_state(path)
    except OSError:
        return None
