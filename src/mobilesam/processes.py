"""Processes of this machine: whether one is alive, how much memory this one took, and that it is asked to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
TERMINATED = 128 + 15  # the exit code after SIGTERM, as shells give it


def is_alive(pid: int) -> bool:
    """Whether a process of this machine is running; True also where that cannot be known.

    Args:
        pid: its number. On Windows nothing is asked: signal 0, a mere question elsewhere, is Ctrl-C there.
    """
    if pid <= 0:  # these mean groups of processes
        return False
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def peak_mb() -> float:
    """Peak resident memory of this process in megabytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    if STATUS.exists():  # Linux, where getrusage would count what the parent held before this program began
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):  # sandboxes such as gVisor do not tell it
                return int(line.split()[1]) / 1e3
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kilobytes, on macOS in bytes
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


@contextmanager
def on_sigterm(action: Callable[[], object]) -> Iterator[None]:
    """Call `action` on SIGTERM inside the block, instead of ending the process; only in the main thread.

    Schedulers send it some seconds before they kill, so that work can be saved.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def terminating() -> AbstractContextManager[None]:
    """Let SIGTERM end the block as an exception, so that it cleans up; only in the main thread."""
    return on_sigterm(lambda: sys.exit(TERMINATED))
