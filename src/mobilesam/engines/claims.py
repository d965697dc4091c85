"""Claims: which worker writes which shard, as files in a folder that all workers see.

A claim is a file that only one worker can create. While it works, the worker sets the file's time again and again; a
claim whose time stands still belongs to a worker that died, and is taken over. Two workers can hold one shard only in
the moment of a takeover; then both write the same bytes, and the second replaces the first.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

BEAT = 5.0  # seconds between two signs of life
STALE = 60.0  # seconds without one after which a worker counts as dead: twelve beats, for slow network folders
MAX_TRIES = 3
WAIT = 1.0  # seconds of the first pause of a worker that waits for others
CHOSEN = 64  # shards to try after one look at the folder; later it would be out of date
LOOKS = 8  # claims that are looked at in one such look


def wall_clock() -> float:
    """Seconds since the epoch."""
    return time.time()


@dataclass(frozen=True)
class Claims:
    """The claims in one folder.

    Args:
        folder: seen by all workers.
        clock: seconds; files get the times of this clock, so a simulation can use its own.
        stale_after: seconds without a sign of life after which a claim may be taken over.
        has_heartbeat: whether a thread gives signs of life; a simulation calls `beat` itself.
    """

    folder: Path
    clock: Callable[[], float] = wall_clock
    stale_after: float = STALE
    has_heartbeat: bool = True
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")

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

        Some of those that nobody holds, at random. If there are none, a few of the held ones are looked at, for one
        whose worker died.

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
        some = random.sample(list(todo), min(len(todo), LOOKS))
        yield from (i for i in some if self.is_stale(self.folder / names[i]))

    def beat(self, name: str) -> None:
        """Give a sign of life; nothing happens if the claim was taken over."""
        now = self.clock()
        with suppress(FileNotFoundError):
            os.utime(self.folder / name, (now, now))

    def note(self, name: str, count: int) -> None:
        """Write down how far the work on a claimed shard is; nothing happens if the claim was taken over."""
        with suppress(FileNotFoundError):
            handle = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND)  # never made anew
            try:
                os.write(handle, f"{count}\n".encode())
            finally:
                os.close(handle)

    def is_stale(self, path: Path) -> bool:
        """Whether a claim exists whose worker has given no sign of life for too long, or has died on this machine."""
        try:
            return self.clock() - path.stat().st_mtime > self.stale_after or died_here(owner_of(path))
        except FileNotFoundError:
            return False

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
        """Each claimed shard, and whether its worker lives."""
        return {name: not self.is_stale(self.folder / name) for name in sorted(self._names())}

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
    host, _, rest = worker.rpartition("-")[0].rpartition("-")
    if host != socket.gethostname() or not rest.isdecimal() or sys.platform == "win32":
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
