"""How much room this process has: cores and memory, within the limits that a container or a job scheduler sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SHARE = 0.8  # of the free memory that workers may take
CGROUP = Path("/sys/fs/cgroup")


def default_workers(worker_mb: float, shards: int) -> int:
    """How many workers to start on this machine where the user does not say.

    One for each core was fastest, each with one thread (docs/scale.md); fewer where memory or work is short.

    Args:
        worker_mb: memory that one is expected to take, in megabytes.
        shards: that are left to do.
    """
    most = max(1.0, SHARE * free_mb() / worker_mb)
    return max(1, int(min(cores(), most, shards)))


def cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: by its affinity, and by the quotas of its control groups."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in groups(cgroup, ""):
        with suppress(OSError, ValueError):  # "max" is no limit
            quota, period = map(int, (folder / "cpu.max").read_text().split())
            count = min(count, max(1, quota // period))
    for folder in groups(cgroup, "cpu"):
        with suppress(OSError, ValueError):
            quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            count = min(count, max(1, quota // period)) if quota > 0 else count
    return count


def free_mb(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> float:
    """Memory in megabytes that is free for this process; infinite where the system does not tell."""
    found = float("inf")
    with suppress(OSError, IndexError, ValueError):
        found = int(meminfo.read_text().split("MemAvailable:")[1].split()[0]) / 1024
    kinds = (("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
    for controller, *names in kinds:
        for folder in groups(cgroup, controller):
            with suppress(OSError, ValueError):
                limit, used = (int((folder / name).read_text()) for name in names)
                found = min(found, (limit - used + files_of(folder / "memory.stat")) / 2**20)
    return max(0.0, found)


def groups(cgroup: Path, controller: str) -> Iterator[Path]:
    """The control groups of this process, from the innermost to the root.

    Args:
        cgroup: where they are mounted.
        controller: of version 1, such as "memory"; "" for version 2.
    """
    inner = ""
    with suppress(OSError):
        lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
        inner = next((path.lstrip("/") for _, names, path in lines if controller in names.split(",")), "")
    root = cgroup / controller
    folder = root / inner
    yield folder
    while folder != root and root in folder.parents:
        folder = folder.parent
        yield folder


def files_of(stat: Path) -> int:
    """Bytes of a control group that are files in memory, which make room when it is asked for."""
    with suppress(OSError, ValueError):
        values = dict(line.split() for line in stat.read_text().splitlines())
        return int(values.get("total_inactive_file", values.get("inactive_file", 0)))
    return 0
