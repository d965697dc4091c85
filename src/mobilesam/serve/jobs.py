"""Jobs of "everything": a thread works through them, and their events are appended to files that any worker can read.

An event is a line of JSON: {"event": name, "data": {...}}. The first line says which process owns the job; the last one
is "done", "failed" or "cancelled". A file whose owner has died ends there, and counts as failed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from mobilesam.errors import MobileSamError
from mobilesam.processes import is_alive
from mobilesam.serve.embeddings import file_name, new_id
from mobilesam.serve.problems import Busy, as_problem

log = logging.getLogger("mobilesam.serve")

Event: TypeAlias = dict[str, Any]
Work: TypeAlias = "Callable[[Job], None]"
ENDS = ("done", "failed", "cancelled")
MAX_FILE = 2**26
"""Bytes of the events of one job; a job with more fails."""


class Cancelled(Exception):  # noqa: N818 - it is no error
    """Raised inside a job that somebody cancelled."""


@dataclass
class Job:
    """One job, in the process that runs it."""

    key: str
    path: Path
    written: int = field(default=0)

    @property
    def marker(self) -> Path:
        """The file whose existence cancels the job."""
        return self.path.with_suffix(".cancel")

    def tell(self, event: str, **data: Any) -> None:
        """Append an event.

        Raises:
            Cancelled: the job was cancelled.
        """
        if event not in ENDS and self.marker.exists():
            raise Cancelled
        line = json.dumps({"event": event, "data": data}, separators=(",", ":")) + "\n"
        self.written += len(line)
        if self.written > MAX_FILE and event not in ENDS:
            raise MobileSamError("the masks of this photo take too much memory; search with fewer points")
        with self.path.open("a", encoding="ascii") as file:
            file.write(line)


class Jobs:
    """Starts, finds and cancels jobs.

    Args:
        folder: for their events; shared by all workers.
        max_jobs: jobs of this process that wait or run.
        kept: finished jobs whose events are kept.
    """

    def __init__(self, folder: Path, max_jobs: int, kept: int) -> None:
        self._folder, self._max_jobs, self._kept = folder, max_jobs, kept
        folder.mkdir(mode=0o700, exist_ok=True)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mobilesam-job")
        self._lock = Lock()
        self._active: dict[str, Job] = {}

    @property
    def active(self) -> int:
        """Number of jobs of this process that wait or run."""
        return len(self._active)

    def start(self, work: Work) -> str:
        """Queue a job; returns its id.

        Raises:
            Busy: too many jobs wait already.
        """
        with self._lock:
            if len(self._active) >= self._max_jobs:
                raise Busy(f"the service is busy: {len(self._active)} jobs wait or run", 5)
            key = new_id()
            job = self._active[key] = Job(key, self._folder / f"{file_name(key)}.jsonl")
        self._tidy()
        job.tell("queued", pid=os.getpid())
        self._pool.submit(self._run, job, work)
        return key

    def _run(self, job: Job, work: Work) -> None:
        try:
            job.tell("running")
            work(job)
        except Cancelled:
            job.tell("cancelled")
        except Exception as error:
            problem = as_problem(error) if type(error) is not MobileSamError else None
            detail = str(error) if problem is None else problem.detail
            if problem is not None and problem.status == 500:
                log.error("a job failed", exc_info=error)
            job.tell("failed", detail=detail)
        finally:
            with self._lock:
                self._active.pop(job.key, None)
            job.marker.unlink(missing_ok=True)

    def read(self, key: str, offset: int = 0) -> tuple[list[Event], int] | None:
        """Events of a job from a byte on, and the byte after them; None if there is no such job."""
        path = self._folder / f"{file_name(key)}.jsonl"
        try:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return None
        content = content[: content.rfind(b"\n") + 1]  # a line that is being written is left for later
        events = [json.loads(line) for line in content.splitlines()]
        if not events and offset and not self._has_owner(path):
            events = [{"event": "failed", "data": {"detail": "the process that ran this job has ended"}}]
        return events, offset + len(content)

    def state(self, key: str) -> dict[str, Any] | None:
        """The state of a job, and its masks if it is done; None if there is no such job."""
        found = self.read(key)
        if found is None:
            return None
        events, _ = found
        path = self._folder / f"{file_name(key)}.jsonl"
        last: Event = events[-1] if events else {"event": "queued", "data": {}}
        if last["event"] not in ENDS and not self._has_owner(path):
            last = {"event": "failed", "data": {"detail": "the process that ran this job has ended"}}
        is_over = last["event"] in ENDS
        started = any(event["event"] == "running" for event in events)
        record: dict[str, Any] = {"id": key, "state": last["event"] if is_over else "running" if started else "queued"}
        progress = next((event["data"] for event in reversed(events) if event["event"] == "progress"), None)
        return {**record, "progress": progress, **(last["data"] if is_over else {})}

    def cancel(self, key: str) -> bool:
        """Cancel a job that waits or runs, in whichever process; returns whether there is such a job."""
        path = self._folder / f"{file_name(key)}.jsonl"
        if not path.exists():
            return False
        state = self.state(key)
        if state is not None and state["state"] in ("queued", "running"):
            path.with_suffix(".cancel").touch(mode=0o600)
        else:
            path.unlink(missing_ok=True)
        return True

    @staticmethod
    def _has_owner(path: Path) -> bool:
        """Whether the process that runs the job is alive."""
        try:
            with path.open("rb") as file:
                pid = json.loads(file.readline())["data"]["pid"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return type(pid) is int and is_alive(pid)

    def _tidy(self) -> None:
        """Delete the events of the oldest jobs that are over, beyond the number that is kept."""
        mine = {job.path.name for job in self._active.values()}
        paths = [path for path in self._folder.glob("*.jsonl") if path.name not in mine]
        ages = []
        for path in paths:
            try:
                ages.append((path.stat().st_mtime, path))
            except FileNotFoundError:
                continue
        for _, path in sorted(ages)[: max(0, len(ages) - self._kept)]:
            path.unlink(missing_ok=True)

    def cancel_waiting(self) -> None:
        """Cancel the jobs of this process that have not begun."""
        with self._lock:
            jobs = list(self._active.values())
        for job in jobs[1:]:
            job.marker.touch(mode=0o600)

    def close(self) -> None:
        """Cancel all jobs of this process and wait until the running one has noticed."""
        with self._lock:
            jobs = list(self._active.values())
        for job in jobs:
            job.marker.touch(mode=0o600)
        self._pool.shutdown(wait=True)
