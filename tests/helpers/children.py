"""Code in a child process of little memory, so that what could end the process fails one test and not the whole run."""

from __future__ import annotations

import subprocess
import sys

LIMIT = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
except ImportError:  # Windows
    resource = None
import numpy as np
from mobilesam.errors import MobileSamError
"""
# Not getrusage: its ru_maxrss counts what the parent held before the child's program began.
PEAK = """
if sys.platform == "linux":
    with open("/proc/self/status") as status:
        print("peak", next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))
"""


def in_child(code: str) -> list[str]:
    """Lines that the code prints; on Linux the last is "peak N", its memory in MB. Fails where the process dies."""
    done = subprocess.run(
        [sys.executable, "-c", LIMIT + code + PEAK], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}"
    return done.stdout.splitlines()
