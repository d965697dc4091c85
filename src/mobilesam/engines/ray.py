"""The engine `ray`: worker actors on a Ray cluster. Actors get the paths of the job, never pixels.

Ray promises at least once; that a shard's file is renamed only when it is whole, and has the same bytes whoever writes
it, makes it exactly once.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mobilesam.engines.job import Crew
from mobilesam.engines.local import GRACE, LIVES
from mobilesam.errors import DataError, MobileSamError, SettingsError, first_line
from mobilesam.extras import require
from mobilesam.processes import TERMINATED, terminating

log = logging.getLogger(__name__)
POLL = 0.5  # seconds between two looks at the actors
PATIENCE = 120.0  # seconds that a cluster gets to start a node that is large enough
STARTED, FINISHED = "started", "finished"
"""What an actor tells when it runs, and when it has finished its first part of the work."""


def run_ray(
    crew: Crew,
    workers: int,
    threads: int | None,
    watch: Callable[[], None],
    *,
    address: str | None,
    device: str = "cpu",
) -> None:
    """Run worker actors until the job is over; one that dies is started again, on another node if its own is gone.

    Args:
        crew: the job; its folder must be seen by all nodes under the same path.
        workers: number of actors.
        threads: of each; as many cores are reserved for it. None: 1.
        watch: called twice a second.
        address: of a running cluster ("auto", "HOST:PORT"); None starts Ray on this machine.
        device: of the models; for "cuda", and for "auto" where the cluster has GPUs, each actor gets one.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: no node has what a worker asks for.
        DataError: every actor ended with an error, or died again and again before it finished anything.
    """
    require("ray", "ray", "the engine ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    threads = threads or 1
    ray.init(address=address, include_dashboard=None if address else False, log_to_driver=True, configure_logging=False)
    try:
        with terminating():  # SIGTERM too is to end the actors
            need = needs(threads, device, ray.cluster_resources())
            wait_for_room(ray.nodes, need, PATIENCE if address else 0.0)
            # A second thread of the actor takes the call to stop. Starting it again is done here: Ray would do it for
            # ever, also for one that dies whenever it loads the model.
            actor = ray.remote(num_cpus=need["CPU"], num_gpus=need["GPU"], max_concurrency=2)(RayWorker)
            Team(ray, actor, crew, threads).run(workers, watch)
    finally:
        ray.shutdown()


def needs(threads: int, device: str, total: Mapping[str, float]) -> dict[str, float]:
    """What a worker asks Ray for; without a GPU of its own Ray would hide all of them from it.

    Args:
        threads: of the worker.
        device: of its model.
        total: resources of the cluster.
    """
    on_gpu = device.startswith("cuda") or (device == "auto" and total.get("GPU", 0) >= 1)
    return {"CPU": threads, "GPU": 1 if on_gpu else 0}


def wait_for_room(nodes: Callable[[], list[dict[str, Any]]], need: Mapping[str, float], seconds: float) -> None:
    """Wait until a node has what a worker asks for, whether it is free or not.

    Raises:
        SettingsError: none has it after so many seconds; Ray itself would wait for ever.
    """
    limit, has_told = time.monotonic() + seconds, False
    while True:
        there = [node["Resources"] for node in nodes() if node["Alive"]]
        if any(all(one.get(name, 0) >= count for name, count in need.items()) for one in there):
            return
        most = {name: int(max((one.get(name, 0) for one in there), default=0)) for name in need}
        lack = (
            f"no node of the Ray cluster has the {need['CPU']:.0f} CPUs and {need['GPU']:.0f} GPUs that a worker asks "
            f"for; no node has more than {most['CPU']} CPUs and {most['GPU']} GPUs"
        )
        if time.monotonic() >= limit:
            raise SettingsError(f"{lack}: give fewer --threads, another device, or the cluster a larger node")
        if not has_told:
            log.warning("%s; waiting for one to start", lack)
            has_told = True
        time.sleep(POLL)


@dataclass
class Member:
    """An actor and what it has told."""

    actor: Any
    stream: Any
    """Yields what it tells; see `RayWorker.run`."""
    lives: int
    """How often it may still die without having finished anything."""
    is_running: bool = False


@dataclass
class Team:
    """The actors of a run."""

    ray: Any
    """The module."""
    kind: Any
    """Ray's class of the actors."""
    crew: Crew
    threads: int
    members: list[Member] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, workers: int, watch: Callable[[], None]) -> None:
        """Start actors, and again those that die, until the job is over; errors are those of `run_ray`."""
        try:
            for _ in range(workers):
                self.start(LIVES)
            # An actor whose node is gone waits for another one, perhaps for ever; the others do its work.
            while self.members and not self.crew.is_over():
                streams = [member.stream for member in self.members]
                ready, _ = self.ray.wait(streams, num_returns=len(streams), timeout=POLL)
                watch()
                for member in [one for one in self.members if one.stream in ready]:
                    self.hear(member)
            if not self.crew.is_over():
                raise DataError(f"every worker has ended: {'; '.join(dict.fromkeys(self.failures))}")
        except BaseException as error:
            self.stop()
            if isinstance(error, SystemExit):  # of SIGTERM, whose code Ray's own calls turn into 1
                raise SystemExit(TERMINATED) from error
            raise

    def start(self, lives: int) -> None:
        """Start an actor."""
        actor = self.kind.remote()
        stream = actor.run.options(num_returns="streaming").remote(self.crew, self.threads)
        self.members.append(Member(actor, stream, lives))

    def hear(self, member: Member) -> None:
        """Take in what an actor tells, or that it has ended."""
        errors = self.ray.exceptions
        try:
            word = self.ray.get(next(member.stream))
        except StopIteration:
            self.members.remove(member)
        except errors.RayTaskError as error:  # a fault of the code, which another start does not mend
            self.end(member, first_line(error.cause) if error.cause else first_line(error))
        except errors.RayError as error:  # the process or its node died
            self.members.remove(member)
            with suppress(Exception):  # one that Ray cannot reach may live
                self.ray.kill(member.actor)
            if member.lives > 1:
                self.start(member.lives - 1)
            else:
                self.end(None, f"a worker died {LIVES} times before it finished a shard: {first_line(error)}")
        else:
            member.is_running = True
            if word == FINISHED:
                member.lives = LIVES + 1  # this one does not count
            elif word != STARTED:
                self.end(member, word)

    def end(self, member: Member | None, message: str) -> None:
        """Note that a worker has ended and why."""
        if member is not None:
            self.members.remove(member)
        self.failures.append(message)
        log.warning("a worker has ended, the others go on: %s", message)

    def stop(self) -> None:
        """Let the actors give back what they hold."""
        asked = [member.actor.stop.remote() for member in self.members if member.is_running]
        if asked:
            self.ray.wait(asked, num_returns=len(asked), timeout=GRACE)


class RayWorker:
    """The actor: runs the job's loop in its own process."""

    def __init__(self) -> None:
        self.thread: int | None = None
        """The thread that works."""

    def run(self, crew: Crew, threads: int) -> Iterator[str]:
        """Work until the job is over; yields `STARTED`, `FINISHED` after the first part, and an error that ends it."""
        yield STARTED
        self.thread = threading.get_ident()
        try:
            for i, _ in enumerate(crew.work(threads)):
                if i == 0:
                    yield FINISHED
        except (MobileSamError, OSError) as error:
            yield str(error)
        except KeyboardInterrupt:
            return  # `stop`
        finally:
            self.thread = None

    def stop(self) -> None:
        """Interrupt the work, as Ctrl-C would, so that its shard is given back; Ray itself only kills."""
        if (thread := self.thread) is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
        limit = time.monotonic() + GRACE
        while self.thread is not None and time.monotonic() < limit:
            time.sleep(0.02)
