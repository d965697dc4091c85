from __future__ import annotations

from pathlib import Path

import pytest

from mobilesam.engines import room


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch) -> Path:
    """A control group of version 2 without limits; the machine has sixteen cores."""
    monkeypatch.setattr(room.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(room.os, "cpu_count", lambda: 16)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    return tmp_path


def meminfo(folder: Path, megabytes: int) -> Path:
    path = folder / "meminfo"
    path.write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {megabytes * 1024} kB\n")
    return path


def test_there_is_a_worker_for_each_core_as_far_as_memory_and_work_go(monkeypatch) -> None:
    monkeypatch.setattr(room, "cores", lambda: 8)
    monkeypatch.setattr(room, "free_mb", lambda: 10_000.0)
    assert room.default_workers(500, 100) == 8
    assert room.default_workers(2000, 100) == 4  # a fifth of the memory stays free
    assert room.default_workers(20_000, 100) == 1
    assert room.default_workers(500, 3) == 3
    assert room.default_workers(500, 0) == 1
    monkeypatch.setattr(room, "free_mb", lambda: float("inf"))
    assert room.default_workers(500, 100) == 8


def test_the_quota_of_a_container_limits_the_cores(cgroup: Path) -> None:
    assert room.cores(cgroup) == 16
    (cgroup / "cpu.max").write_text("350000 100000\n")
    assert room.cores(cgroup) == 3
    (cgroup / "cpu.max").write_text("50000 100000\n")
    assert room.cores(cgroup) == 1


def test_the_older_control_groups_limit_cores_and_memory_too(cgroup: Path) -> None:
    for name in ("cpu", "memory"):
        (cgroup / name).mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert room.cores(cgroup) == 16
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("400000\n")
    assert room.cores(cgroup) == 4
    (cgroup / "memory" / "memory.limit_in_bytes").write_text(str(1000 << 20))
    (cgroup / "memory" / "memory.usage_in_bytes").write_text(str(700 << 20))
    (cgroup / "memory" / "memory.stat").write_text(f"cache 5\ntotal_inactive_file {200 << 20}\n")
    assert room.free_mb(cgroup, meminfo(cgroup, 8000)) == 500


def test_memory_is_what_the_machine_and_the_container_leave_free(cgroup: Path) -> None:
    assert room.free_mb(cgroup, meminfo(cgroup, 8000)) == 8000
    (cgroup / "memory.max").write_text(str(3000 << 20))
    (cgroup / "memory.current").write_text(str(2500 << 20))
    (cgroup / "memory.stat").write_text(f"anon 1\ninactive_file {1000 << 20}\n")
    assert room.free_mb(cgroup, meminfo(cgroup, 8000)) == 1500
    assert room.free_mb(cgroup / "none", cgroup / "none") == float("inf")
