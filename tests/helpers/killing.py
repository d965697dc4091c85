"""SIGKILL for a worker in the middle of its work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mobilesam.engines.claims import Claims, owner_of


def kill(pid: int) -> None:
    """SIGKILL for one process."""
    os.kill(pid, signal.SIGKILL)


@contextmanager
def killing_a_writer(claims: Path, kill: Callable[[int], None] = kill) -> Iterator[list[int]]:
    """While the block runs, kill the first process that holds a shard; yields the list that gets its id.

    Args:
        claims: folder of the claims.
        kill: called with the id of the process.
    """
    killed: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set() and not killed:
            for name in Claims(claims).held():
                owner = owner_of(claims / name)
                if owner:  # the claim may have gone, or be empty yet
                    killed.append(int(owner.split("-")[-2]))
                    kill(killed[0])
                    break
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        stop.set()
        watcher.join()
