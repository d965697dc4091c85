"""Everything that reads a file or takes a prompt, with inputs that once failed and with mutated ones.

In a process of their own: a fault there must not end the tests. `scripts/fuzz` goes on for as long as it is told.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FORK = hasattr(os, "fork") and sys.platform == "linux"
pytestmark = pytest.mark.skipif(not FORK, reason="forks processes and reads their memory from /proc")

INPUTS = 1000


def python(code: str) -> Any:
    """What code prints as JSON, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_what_failed_once_is_read_or_refused_as_it_should_be() -> None:
    wrong = python("""
import json
from tests.fuzz.command import known_jobs
from tests.fuzz.kinds import KINDS
from tests.fuzz.known import KNOWN
from tests.fuzz.pool import try_all
jobs = known_jobs([name for name, kind in KINDS.items() if not kind.missing])
wrong = []
for found in try_all(jobs, 0, 1):
    name, _, expected = KNOWN[found.kind]()[-1 - found.number]
    is_right = found.verdict == expected or (found.verdict == "refused" and expected in found.why)
    is_right |= expected == "either" and not found.is_fault
    if not is_right:
        wrong.append([found.kind, name, f"expected {expected}", found.verdict, found.why])
print(json.dumps(wrong))
""")
    assert wrong == []


def test_mutated_inputs_are_read_or_refused(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/fuzz", "--inputs", str(INPUTS), "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_fault_is_told_and_the_others_are_still_tried() -> None:
    found = python("""
import json, os, signal, time
from mobilesam.errors import DataError
from tests.fuzz import pool
from tests.fuzz.kinds import KINDS, Kind
from tests.fuzz.targets.common import SilentError

def refuse(data, folder): raise DataError("no")
def fail(data, folder): return {}["x"]
def change(data, folder): raise SilentError("other numbers")
def die(data, folder): os.kill(os.getpid(), signal.SIGSEGV)
def leave(data, folder): os._exit(3)
def loop(data, folder):
    while True: pass
def grow(data, folder): bytes(pool.MEMORY // 2**20 * 2**20) + b"x" * 2**20

pool.SECONDS, pool.MEMORY = 1, 2**26
KINDS.clear()
for use in (refuse, fail, change, die, leave, loop, grow):
    KINDS[use.__name__] = Kind(lambda: [b""], lambda rng, data: data, use, 1)
KINDS["accept"] = Kind(lambda: [b""], lambda rng, data: data, lambda data, folder: None, 1)
print(json.dumps({one.kind: one.verdict for one in pool.try_all([(kind, 0) for kind in KINDS], 0, 1)}))
""")
    assert found == {
        "refuse": "refused",
        "fail": "RAW",
        "change": "SILENT",
        "die": "DIED",
        "leave": "DIED",
        "loop": "SLOW",
        "grow": "FAT",
        "accept": "accepted",
    }


def test_an_input_depends_on_seed_kind_and_number_alone() -> None:
    one, again, other = python("""
import json
from tests.fuzz.kinds import KINDS
make = lambda seed: [KINDS[kind].make(kind, seed, 7).hex() for kind in ("photos", "records", "prompts and settings")]
print(json.dumps([make(0), make(0), make(1)]))
""")
    assert one == again
    assert all(a != b for a, b in zip(one, other, strict=True))
