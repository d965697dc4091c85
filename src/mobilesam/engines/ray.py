"""The engine `ray`: worker actors on a Ray cluster. Actors get the paths of the job, never pixels.

Ray promises at least once; that a shard's file is renamed only when it is whole, and has the same bytes whoever writes
it, makes it exactly once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from mobilesam.engines.job import Crew
from mobilesam.engines.local import terminating
from mobilesam.errors import DataError, MobileSamError
from mobilesam.extras import require

log = logging.getLogger(__name__)
POLL = 0.5  # seconds between two looks at the actors


def run_ray(crew: Crew, workers: int, threads: int | None, watch: Callable[[], None], *, address: str | None) -> None:
    """Run worker actors until the job is over; Ray starts one that dies again, on another node if its own is gone.

    Args:
        crew: the job; its folder must be seen by all nodes under the same path.
        workers: number of actors.
        threads: of each; as many cores are reserved for it. None: 1.
        watch: called twice a second.
        address: of a running cluster ("auto", "HOST:PORT"); None starts Ray on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        DataError: every actor ended with an error.
    """
    require("ray", "ray", "the engine ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    threads = threads or 1
    ray.init(address=address, include_dashboard=None if address else False, log_to_driver=True, configure_logging=False)
    try:
        with terminating():  # SIGTERM too is to end the actors
            actor = ray.remote(num_cpus=threads, max_restarts=-1, max_task_retries=-1)(RayWorker)
            handles = [actor.remote() for _ in range(workers)]
            running = [handle.run.remote(crew, i, threads) for i, handle in enumerate(handles)]
            failures: list[str] = []
            # An actor whose node is gone waits for another one, perhaps for ever; the others do its work.
            while running and not crew.is_over():
                done, running = ray.wait(running, timeout=POLL)
                watch()
                for message in filter(None, ray.get(done)):
                    failures.append(message)
                    log.warning("a worker has ended, the others go on: %s", message)
            if not crew.is_over():
                raise DataError(f"every worker has ended: {'; '.join(dict.fromkeys(failures))}")
    finally:
        ray.shutdown()


class RayWorker:
    """The actor: runs the job's loop in its own process."""

    def run(self, crew: Crew, number: int, threads: int) -> str:
        """Work until the job is over; returns the error that ended it, or ""."""
        try:
            crew.work(number, threads)
        except (MobileSamError, OSError) as error:
            return str(error)
        return ""
