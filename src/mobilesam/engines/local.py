"""The engine `local`: worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from mobilesam.engines.job import Crew
from mobilesam.engines.room import cores
from mobilesam.errors import DataError, MobileSamError
from mobilesam.processes import TERMINATED, terminating

POLL = 0.5  # seconds between two looks at the workers
SOON = 20.0  # seconds; a worker that dies sooner has hardly worked
LIVES = 3  # times in a row that a worker may die so soon
FINISH = 1.0  # seconds that workers get to end by themselves when nothing is left; some may be waiting for others
GRACE = 30.0  # seconds that workers get to stop


@dataclass
class Member:
    """A worker process and its history."""

    process: BaseProcess
    started: float
    lives: int


def run_local(crew: Crew, workers: int, threads: int | None, watch: Callable[[], None]) -> None:
    """Run worker processes until the job is over; one that dies is started again.

    Args:
        crew: the job.
        workers: number of processes.
        threads: of each; None divides the cores among them.
        watch: called twice a second.

    Raises:
        DataError: every worker ended with an error, or died again and again.
    """
    context = multiprocessing.get_context("spawn")  # runtimes with threads of their own do not survive a fork
    threads = threads or max(1, cores() // workers)
    members: dict[int, Member] = {}

    def begin(number: int, lives: int) -> None:
        process = context.Process(target=worker_main, args=(crew, threads))
        process.start()
        members[number] = Member(process, time.monotonic(), lives)

    with terminating():
        try:
            for number in range(workers):
                begin(number, LIVES)
            while members:
                time.sleep(POLL)
                watch()
                for number, member in [(n, m) for n, m in members.items() if not m.process.is_alive()]:
                    del members[number]
                    if (lives := lives_left(member)) > 0:
                        begin(number, lives)
                if crew.is_over():
                    join([member.process for member in members.values()], FINISH)
                    return
                if not members:
                    raise DataError("every worker has ended; see the messages above, then run the command again")
        finally:
            stop([member.process for member in members.values()])


def lives_left(member: Member) -> int:
    """How often a worker that has ended may still die soon; 0 if it is not to be started again."""
    # Exit code 1 is an error that the worker has reported; anything else but 0 is a crash or a kill.
    if member.process.exitcode in (0, 1):
        return 0
    return member.lives - 1 if time.monotonic() - member.started < SOON else LIVES


def join(processes: list[BaseProcess], seconds: float) -> None:
    """Wait for workers, together at most so long."""
    limit = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))


def stop(processes: list[BaseProcess]) -> None:
    """Ask workers to stop, and end those that do not."""
    for process in processes:
        process.terminate()
    join(processes, GRACE)
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


def worker_main(crew: Crew, threads: int | None) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # as an exception, so that claims are given back
    try:
        for _ in crew.work(threads):
            pass
    except (MobileSamError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
