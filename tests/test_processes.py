"""What is known of processes: whether they are alive, and how much memory this one took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mobilesam import processes
from mobilesam.engines.claims import died_here, here
from mobilesam.processes import is_alive, peak_mb
from mobilesam.serve.jobs import Jobs


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture(params=["signals", "windows", "foreign"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cases in which a process that is there is asked for: by signal 0, on Windows, and as another user."""

    def stop(pid: int, number: int) -> None:
        pytest.fail("signal 0 is Ctrl-C on Windows")

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    if request.param == "windows":
        monkeypatch.setattr(sys, "platform", "win32")
    if request.param != "signals":
        monkeypatch.setattr(os, "kill", stop if request.param == "windows" else refuse)
    return str(request.param)


def owned(folder: Path, pid: Any) -> Path:
    """The file of a job whose process has a number."""
    path = folder / "job.jsonl"
    path.write_text(json.dumps({"event": "queued", "data": {"pid": pid}}) + "\n")
    return path


def test_a_process_that_is_there_is_alive_to_jobs_and_claims(asked: str, tmp_path: Path) -> None:
    assert is_alive(os.getpid())
    assert Jobs._has_owner(owned(tmp_path, os.getpid()))
    assert not died_here(f"{here()}-{os.getpid()}-0")


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is known there")
def test_one_that_has_ended_is_not(gone: int, tmp_path: Path) -> None:
    assert not is_alive(gone)
    assert not Jobs._has_owner(owned(tmp_path, gone))
    assert died_here(f"{here()}-{gone}-0")


@pytest.mark.parametrize("pid", [0, -1, 2**70])
def test_numbers_that_no_process_has_are_not_asked_for(pid: int, tmp_path: Path) -> None:
    assert not is_alive(pid)
    assert not Jobs._has_owner(owned(tmp_path, pid))


@pytest.mark.parametrize("pid", ["x", None, 1.5, True])
def test_a_damaged_file_of_a_job_has_no_owner(pid: Any, tmp_path: Path) -> None:
    assert not Jobs._has_owner(owned(tmp_path, pid))


def test_the_peak_is_that_of_this_process() -> None:
    assert sys.platform == "win32" or 20 < peak_mb() < 1e5


@pytest.mark.parametrize("text", ["Name:\tpython\nVmRSS:\t123 kB\n", ""])
def test_a_system_that_tells_no_peak_in_its_status_is_asked_in_another_way(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").write_text(text)
    monkeypatch.setattr(processes, "STATUS", tmp_path / "status")
    assert sys.platform == "win32" or 20 < peak_mb() < 1e5
