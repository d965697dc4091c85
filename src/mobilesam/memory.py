"""How much memory this process took."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_mb() -> float:
    """Peak resident memory of this process in megabytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage would count what the parent held before this program began
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kilobytes, on macOS in bytes
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
