"""Worker processes that try inputs under limits of time and memory, and survive what ends a process."""

from __future__ import annotations

import io
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mobilesam.errors import MobileSamError
from tests.fuzz.kinds import KINDS
from tests.fuzz.targets.common import SilentError

SECONDS = 10
"""Of processor time, which one input may take at most; six times as much on the clock, for machines that are busy."""
MEMORY = 2 * 2**30
"""Bytes that one input may take at most."""
ROOM = 6 * 2**30  # of address space: what asks for more gets a MemoryError, so that the machine is not hurt


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    kind: str
    number: int
    verdict: str
    """accepted, refused; or a fault: RAW, DIED, SLOW, FAT, SILENT."""
    why: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it should not have happened."""
        return self.verdict.isupper()


Job = tuple[str, int]


def try_all(jobs: Sequence[Job], seed: int, workers: int) -> Iterator[Outcome]:
    """Try inputs in several processes; outcomes come in no particular order."""
    lanes = [Lane(list(jobs[i::workers]), seed) for i in range(min(workers, len(jobs)))]
    with selectors.DefaultSelector() as waiting:
        for lane in lanes:
            waiting.register(lane.start(), selectors.EVENT_READ, lane)
        try:
            while waiting.get_map():
                for key, _ in waiting.select():
                    line = key.data.pipe.readline()
                    if line:
                        yield from key.data.read(line)
                        continue
                    waiting.unregister(key.fileobj)
                    yield from key.data.finish()
                    if key.data.jobs:
                        waiting.register(key.data.start(), selectors.EVENT_READ, key.data)
        finally:
            for lane in lanes:
                lane.stop()


@dataclass
class Lane:
    """Jobs that are done one after the other, by a process that is replaced when it ends."""

    jobs: list[Job]
    seed: int
    pid: int = 0
    pipe: BinaryIO = field(default_factory=io.BytesIO)
    folder: Path = Path()

    def start(self) -> BinaryIO:
        """Fork a process; returns the pipe on which it tells the outcomes."""
        self.pipe.close()
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        end, start = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(end)
            with os.fdopen(start, "wb", buffering=0) as told:
                work(self.jobs, self.seed, self.folder, told)
            os._exit(0)
        os.close(start)
        self.pipe = os.fdopen(end, "rb", buffering=0)
        return self.pipe

    def read(self, line: bytes) -> Iterator[Outcome]:
        """The outcome in a line, which is that of the first job that waits."""
        yield Outcome(*self.jobs.pop(0), *json.loads(line))

    def finish(self) -> Iterator[Outcome]:
        """The outcome of the job that ended its process, if one did."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.jobs:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            is_slow = number in (signal.SIGALRM, signal.SIGPROF)
            why = f"signal {number}" if number else f"exit {os.WEXITSTATUS(status)}"
            yield Outcome(*self.jobs.pop(0), "SLOW" if is_slow else "DIED", why)

    def stop(self) -> None:
        """End the process, if the run was broken off."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True) if self.folder.name.startswith("fuzz-") else None


def work(jobs: Sequence[Job], seed: int, folder: Path, told: BinaryIO) -> None:
    """Do jobs, and write a line for each; runs in a process of its own."""
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    for kind, number in jobs:
        data = KINDS[kind].make(kind, seed, number)
        told.write(json.dumps(attempt(kind, data, folder)).encode() + b"\n")


def attempt(kind: str, data: bytes, folder: Path) -> tuple[str, str]:
    """Try one input: its verdict, and why."""
    before = reset_peak()
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + ROOM, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 6 * SECONDS)
    verdict, why = "accepted", ""
    try:
        KINDS[kind].use(data, folder)
    except MobileSamError as error:
        verdict, why = "refused", f"{type(error).__name__}: {error}"
    except SilentError as error:
        verdict, why = "SILENT", str(error)
    except BaseException as error:
        places = [frame for frame in traceback.extract_tb(error.__traceback__) if "mobilesam" in frame.filename]
        place = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "outside"
        verdict, why = "RAW", f"{type(error).__name__}: {error} @ {place}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    if (taken := peak() - before) > MEMORY and not verdict.isupper():
        verdict, why = "FAT", f"{taken / 2**20:.0f} MB; {why}"
    return verdict, why[:300]


def status(field: str) -> int:
    """A line of this process's status in bytes, on Linux; 0 elsewhere."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    except OSError:
        return 0


def peak() -> int:
    """The most memory that this process has taken since `reset_peak`."""
    return status("VmHWM")


def address_space() -> int:
    """Its address space, of which runtimes reserve more than they take."""
    return status("VmSize") or 2**40


def reset_peak() -> int:
    """Forget the peak so far; returns the memory taken now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return status("VmRSS")
