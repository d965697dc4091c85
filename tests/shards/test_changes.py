"""A photo that is edited after its shard was finished is named, and the exit code is 1."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mobilesam.annotate.work import begin
from mobilesam.data.files import file_state
from mobilesam.shards.changes import with_changes
from mobilesam.shards.job import Job
from mobilesam.shards.run import Progress, Running, run_job
from mobilesam.shards.status import read_status
from mobilesam.shards.worker import run_worker
from tests.helpers.annotating import plan
from tests.helpers.scenes import write_shard

FAST = ("--image-size", 256, "--backend", "onnx", "--shard-photos", 2, "--workers", 1)


def changed(job: Job) -> tuple[int, tuple[str, ...]]:
    status = with_changes(read_status(job.folder), job)
    return status.changed, status.changed_photos


def finish(job: Job, *indices: int) -> None:
    """Mark shards as finished, without work."""
    numbers = dict.fromkeys(("photos_failed", "bytes", "seconds", "peak_mb"), 0)
    for index in indices:
        record = {**numbers, "photos": 2, "errors": []}
        job.done_file(job.names[index]).write_text(json.dumps(record))
        Path(job.result(job.names[index])).touch()


def edit(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_photos_of_finished_shards_that_changed_are_counted_and_missing_ones_are_not(photos, small, tmp_path) -> None:
    job = plan(photos, tmp_path / "out", small, None)
    finish(job, 0, 2)
    assert changed(job) == (0, ())
    (photos / "a.png").unlink()
    edit(photos / "c.png")  # of a shard that is still to be done, which reports it itself
    edit(photos / "b.jpg")
    (photos / "sub" / "d.jpg").write_bytes(b"another")
    assert changed(job) == (2, ("photos/b.jpg", "photos/sub/d.jpg"))


def test_at_most_ten_photos_are_named(small, tmp_path) -> None:
    job = plan(write_shard(tmp_path / "s.tar", 12), tmp_path / "out", small, None, shard_photos=12)
    finish(job, 0)
    edit(tmp_path / "s.tar")
    status = with_changes(read_status(job.folder), job)
    assert (status.changed, len(status.changed_photos)) == (12, 10)
    assert "s/photo_09 and 2 more; give another --output" in status.text()


def test_the_same_command_and_status_name_a_photo_that_changed(run, photos, detections, small, tmp_path) -> None:
    words = ("annotate", photos, "-o", tmp_path / "out", "--prompts", detections, *FAST)
    run_worker(plan(photos, tmp_path / "out", small, detections, zoom_batch=1).folder, begin, threads=1)
    code, out, err = run(*words)
    assert code == 0, err
    (photos / "b.jpg").write_bytes((photos / "sub" / "d.jpg").read_bytes())
    message = "1 photo changed after their results were made: photos/b.jpg; give another --output"
    for command in (words, ("annotate", "status", tmp_path / "out")):
        code, out, _ = run(*command)
        assert (code, message in out) == (1, True), out
    assert "| photos that changed since | 1" in (tmp_path / "out" / "report.md").read_text()
    assert json.loads((tmp_path / "out" / "report.json").read_text())["changed_photos"] == ["photos/b.jpg"]
    _, out, _ = run("annotate", "status", tmp_path / "out", "--json")
    assert json.loads(out)["changed"] == 1


def test_changes_are_looked_up_after_the_work_in_the_shards_of_earlier_calls(
    photos, small, tmp_path, monkeypatch
) -> None:
    job = plan(photos, tmp_path / "out", small, None)
    finish(job, 0)
    edit(photos / "b.jpg")

    def work(*_) -> None:
        assert not looked
        finish(job, 1, 2)
        edit(photos / "c.png")  # of a shard that compared its photos when it read them

    looked: list[str] = []
    monkeypatch.setattr("mobilesam.shards.changes.file_state", lambda path: looked.append(path) or file_state(path))
    monkeypatch.setattr("mobilesam.shards.run.run_crew", work)
    outcome = run_job(job, begin, Running(workers=1), lambda *_: [], worker_mb=1)
    assert outcome.status.changed_photos == ("photos/b.jpg",)
    assert looked == [str(photos / "a.png"), str(photos / "b.jpg")]
    assert "changed" not in "".join(Progress(job, show=False, log=None).record(outcome.status))
