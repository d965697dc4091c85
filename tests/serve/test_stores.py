"""Embeddings and jobs that several processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mobilesam.serve.embeddings import InMemory, Shared, new_id, size_of
from mobilesam.serve.jobs import Job, Jobs


@pytest.fixture(params=["memory", "shared"])
def make_store(request, tmp_path: Path, embedded):
    def make(max_bytes: int):
        return InMemory(max_bytes) if request.param == "memory" else Shared(tmp_path / "e", embedded, max_bytes)

    return make


def test_the_longest_unused_goes_first(make_store, coffee_embedding) -> None:
    store = make_store(int(2.5 * size_of(coffee_embedding)))
    first, second = store.put(coffee_embedding), store.put(coffee_embedding)
    time.sleep(0.01)
    assert store.get(first) == store.get(first) or store.get(first) is not None
    third = store.put(coffee_embedding)
    assert store.get(second) is None
    assert store.get(first) is not None
    assert store.get(third) is not None
    count, size = store.stats()
    assert count == 2
    assert size <= 2.5 * size_of(coffee_embedding)
    assert store.drop(first)
    assert not store.drop(first)
    assert store.get(first) is None


def test_an_id_from_one_process_is_known_in_another(tmp_path: Path, embedded, coffee_embedding) -> None:
    one, other = (Shared(tmp_path / "e", embedded, 2**26) for _ in range(2))
    key = one.put(coffee_embedding)
    found = other.get(key)
    assert found is not None
    assert np.array_equal(found.photo, coffee_embedding.photo)
    # a small box takes the second look, which needs the photo
    box = (325, 229, 405, 326)
    assert np.array_equal(found.predict(box=box).best.array, coffee_embedding.predict(box=box).best.array)
    assert key not in " ".join(os.listdir(tmp_path / "e"))
    assert (tmp_path / "e").stat().st_mode & 0o077 == 0


def test_no_text_of_a_request_becomes_a_path(tmp_path: Path, embedded) -> None:
    store, jobs = Shared(tmp_path / "e", embedded, 2**26), Jobs(tmp_path / "j", 1, 1)
    (tmp_path / "secret.jsonl").write_text('{"event":"done","data":{}}\n')
    for key in ("../secret", "/etc/passwd", "a\0b", "\ud800", "x" * 10_000, ""):
        assert store.get(key) is None
        assert not store.drop(key)
        assert jobs.state(key) is None
        assert not jobs.cancel(key)
    jobs.close()


def test_ids_cannot_be_guessed() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(key) == 32 for key in ids)


def test_a_job_of_a_process_that_died_has_failed(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "j", 1, 9)
    code = f"""
import sys, time
from pathlib import Path
from mobilesam.serve.jobs import Jobs
jobs = Jobs(Path({str(tmp_path / "j")!r}), 1, 9)
print(jobs.start(lambda job: time.sleep(60)), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        key = child.stdout.readline().strip()
        assert jobs.state(key)["state"] in ("queued", "running")
        child.kill()
    assert jobs.state(key)["state"] == "failed"
    _, end = jobs.read(key)  # type: ignore[misc]
    assert jobs.read(key, end)[0][0]["event"] == "failed"
    jobs.close()


def test_a_job_is_cancelled_from_another_process(tmp_path: Path) -> None:
    one, other = (Jobs(tmp_path / "j", 2, 9) for _ in range(2))

    def work(job: Job) -> None:
        while True:
            job.tell("progress", done=0, total=1)
            time.sleep(0.005)

    key = one.start(work)
    assert other.cancel(key)
    while one.active:
        time.sleep(0.005)
    assert other.state(key)["state"] == "cancelled"
    one.close()
    other.close()


def test_only_so_many_finished_jobs_are_kept(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "j", 9, 2)
    keys = []
    for _ in range(5):
        keys.append(jobs.start(lambda job: job.tell("done", masks=[])))
        while jobs.active:
            time.sleep(0.002)
    assert jobs.state(keys[0]) is None
    assert jobs.state(keys[-1])["state"] == "done"
    assert len(os.listdir(tmp_path / "j")) <= 3
    jobs.close()


def test_stopping_ends_the_running_job_and_those_that_wait(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path / "j", 3, 9)

    def work(job: Job) -> None:
        while True:
            job.tell("progress", done=0, total=1)
            time.sleep(0.005)

    keys = [jobs.start(work) for _ in range(3)]
    jobs.cancel_waiting()
    jobs.close()
    assert {jobs.state(key)["state"] for key in keys} == {"cancelled"}
