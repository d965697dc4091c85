"""Claims: which worker writes which shard, as files in a folder that all workers see.

A claim is a file that only one worker can create. While it works, the worker sets the file's time again and again; a
claim whose time stands still belongs to a worker that died, and is taken over. How long it stands still is measured by
the clock of the worker that watches it, since the clocks of two machines may differ. Two workers can hold one shard
only in the moment of a takeover; then both write the same bytes, and the second replaces the first.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mobilesam.processes import is_alive

BEAT = 5.0  # seconds between two signs of life
STALE = 60.0  # seconds without one after which a worker counts as dead: twelve beats, for slow network folders
MAX_TRIES = 3
WAIT = 1.0  # seconds of the first pause of a worker that waits for others
CHOSEN = 64  # shards to try after one look at the folder; later it would be out of date
LOOKS = 8  # claims that such a look begins to watch
WATCHED = 32  # most claims that are watched, of those that have stood still so far


def steady_clock() -> float:
    """Seconds that never jump, of no meaning on other machines."""
    return time.monotonic()


def here() -> str:
    """This machine, and in it the container, if processes have numbers of their own there: what tells whether a process
    number of another worker means the same here."""
    place = socket.gethostname()
    with suppress(OSError):  # Linux; elsewhere there are no containers of this kind
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        place += f"-{boot[:8]}-{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    return place


def new_worker() -> str:
    """A name for a worker that no other one has."""
    return f"{here()}-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Claims:
    """The claims in one folder.

    Args:
        folder: seen by all workers.
        clock: seconds, for how long a claim stands still; a simulation can use its own.
        stale_after: seconds without a sign of life after which a claim may be taken over.
        has_heartbeat: whether a thread gives signs of life; a simulation calls `beat` itself.
    """

    folder: Path
    clock: Callable[[], float] = steady_clock
    stale_after: float = STALE
    has_heartbeat: bool = True
    worker: str = field(default_factory=new_worker)
    still: dict[str, tuple[int, float]] = field(default_factory=dict, repr=False, compare=False)
    """Watched claim → its time in ns, and since when by this clock it has been that."""

    def take(self, name: str) -> bool:
        """Claim a shard, or take over the claim of a dead worker; False if a living one holds it."""
        path = self.folder / name
        if self.is_stale(path):
            # Only one of several workers can rename the file; the others find it gone and compete for a new one.
            with suppress(FileNotFoundError):
                gone = path.with_name(f".{name}-{secrets.token_hex(8)}")
                os.rename(path, gone)
                gone.unlink()
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps({"worker": self.worker}) + "\n")
        self.beat(name)
        with (self.folder / f"{name}.tries").open("a") as file:
            file.write("started\n")
        return True

    def choose(self, names: Sequence[str], todo: Sequence[int]) -> Iterator[int]:
        """Which shards a worker should try to claim next, such that a thousand workers rarely try the same ones.

        Some of those that nobody holds, at random. If there are none, a few of the held ones are watched, for one whose
        worker died: those that have stood still so far, and some others.

        Args:
            names: of all shards.
            todo: indices of those that are not finished.

        Yields:
            Indices.
        """
        held = self._names()
        free = [i for i in todo if names[i] not in held]
        if free:
            yield from random.sample(free, min(len(free), CHOSEN))
            return
        watched = [i for i in todo if names[i] in self.still][:WATCHED]
        others = [i for i in todo if names[i] not in self.still]
        some = watched + random.sample(others, min(len(others), LOOKS, WATCHED - len(watched)))
        yield from (i for i in some if self.is_stale(self.folder / names[i]))

    def beat(self, name: str) -> None:
        """Give a sign of life; nothing happens if the claim was taken over."""
        now = time.time_ns()  # always another one than before; nobody compares it with a clock
        with suppress(FileNotFoundError):
            os.utime(self.folder / name, ns=(now, now))

    def note(self, name: str, count: int) -> None:
        """Write down how far the work on a claimed shard is; nothing happens if the claim was taken over."""
        with suppress(FileNotFoundError):
            handle = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND)  # never made anew
            try:
                os.write(handle, f"{count}\n".encode())
            finally:
                os.close(handle)

    def is_stale(self, path: Path) -> bool:
        """Whether a claim has stood still for too long while it was watched, or its worker died on this machine.

        A claim that has moved is not watched further, until it is looked at again.
        """
        try:
            time_ns = path.stat().st_mtime_ns
        except FileNotFoundError:
            self.still.pop(path.name, None)
            return False
        now = self.clock()
        seen, since = self.still.setdefault(path.name, (time_ns, now))
        if seen != time_ns:
            del self.still[path.name]
            return False
        return now - since > self.stale_after or died_here(owner_of(path))

    def release(self, name: str, *, counts: bool = True) -> None:
        """Give a shard back.

        Args:
            name: of the shard.
            counts: whether this start counts as a try; False where the user interrupted it.
        """
        if not self.is_mine(name):  # taken over: the other worker's claim stays
            return
        if not counts:
            tries = self.folder / f"{name}.tries"
            lines = tries.read_text().splitlines()[:-1]
            tries.write_text("".join(line + "\n" for line in lines))
        with suppress(FileNotFoundError):
            (self.folder / name).unlink()

    def is_mine(self, name: str) -> bool:
        """Whether this worker still holds a claim."""
        return owner_of(self.folder / name) == self.worker

    def tries(self, name: str) -> int:
        """How often a shard was started."""
        try:
            return len((self.folder / f"{name}.tries").read_text().splitlines())
        except FileNotFoundError:
            return 0

    def forget(self, name: str) -> None:
        """Remove all traces of a shard that is done or set aside."""
        for path in (self.folder / f"{name}.tries", self.folder / name):
            with suppress(FileNotFoundError):
                path.unlink()

    def held(self) -> dict[str, bool]:
        """Each claimed shard, and whether its worker seems to live.

        For those who look once: a claim's time is compared with the clock of this machine, so the answer is wrong where
        clocks differ by more than `stale_after`. Nothing is taken over because of it.
        """
        return {name: self.seems_alive(self.folder / name) for name in sorted(self._names())}

    def seems_alive(self, path: Path) -> bool:
        """Whether the last sign of life is new, and the worker has not died on this machine; True of no claim."""
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return True
        return age <= self.stale_after and not died_here(owner_of(path))

    def _names(self) -> set[str]:
        """The claimed shards."""
        return {name for name in os.listdir(self.folder) if not name.startswith(".") and not name.endswith(".tries")}

    @contextmanager
    def holding(self, name: str, count: Callable[[], int] = int) -> Iterator[None]:
        """Give signs of life while the block runs; it does not release the claim.

        Args:
            name: of the shard.
            count: says how far the work is, for those who look at it.
        """
        done = threading.Event()

        def beat() -> None:
            noted = 0
            while not done.wait(min(BEAT, self.stale_after / 4)):
                if (now := count()) != noted:
                    self.note(name, now)
                    noted = now
                self.beat(name)

        thread = threading.Thread(target=beat, daemon=True)
        if self.has_heartbeat:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if self.has_heartbeat:
                thread.join()


@dataclass
class Pauses:
    """The pauses of a worker while others hold all that is left: ever longer, so that many do not tire the folder."""

    stale_after: float = STALE
    seconds: float = WAIT

    def next(self) -> float:
        """Seconds of the next pause."""
        now, self.seconds = self.seconds, min(2 * self.seconds, self.stale_after / 2)
        return now


def owner_of(path: Path) -> str:
    """The worker that holds a claim; "" if there is none, or it is being written."""
    try:
        return str(json.loads(path.read_text().partition("\n")[0])["worker"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def count_in(path: Path) -> int:
    """What the worker that holds a claim last noted; 0 if it has noted nothing."""
    try:
        return int(path.read_text().split("\n")[-2])
    except (OSError, ValueError, IndexError):
        return 0


def died_here(worker: str) -> bool:
    """Whether a worker is known to be dead, because it ran on this machine and its process is gone."""
    place, _, process = worker.rpartition("-")[0].rpartition("-")
    return process.isdecimal() and place == here() and not is_alive(int(process))
