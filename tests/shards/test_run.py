from __future__ import annotations

import io
import json
import sys
import threading
import time

import pytest

from mobilesam.annotate.work import begin
from mobilesam.engines import claims
from mobilesam.engines.claims import Claims
from mobilesam.errors import SettingsError
from mobilesam.everything.settings import EverythingSettings
from mobilesam.shards import run
from mobilesam.shards.run import Progress, Running, run_job
from mobilesam.shards.status import read_status
from mobilesam.shards.worker import run_worker
from tests.helpers.annotating import plan


def test_photos_of_a_shard_that_is_being_written_are_seen_from_outside(photos, small, tmp_path, monkeypatch) -> None:
    """All photos are in one shard, so that without this nothing would move until the end."""
    import mobilesam.annotate.work as work

    job = plan(photos, tmp_path / "out", small, None, shard_photos=5, everything=EverythingSettings(points_per_side=2))
    monkeypatch.setattr(claims, "BEAT", 0.05)
    seen: list[int] = []
    original = work.segment_everything

    def slow(*rest, **more):
        time.sleep(0.2)
        seen.append(read_status(job.folder).photos_running)
        return original(*rest, **more)

    monkeypatch.setattr(work, "segment_everything", slow)
    run_worker(job.folder, begin, threads=1)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] >= 3
    status = read_status(job.folder)
    assert (status.photos_running, status.photos_done) == (0, 5)


def test_status_tells_photos_in_running_shards(photos, small, tmp_path) -> None:
    job = plan(photos, tmp_path / "out", small, None)
    alive = Claims(job.folder / "claims")
    alive.take(job.names[0])
    alive.note(job.names[0], 1)
    assert "0 of 5 photos and 1 in running shards" in read_status(job.folder).text()
    assert alive.is_mine(job.names[0])


def test_noting_never_makes_a_claim_that_is_gone(tmp_path) -> None:
    Claims(tmp_path).note("gone", 3)
    assert not list(tmp_path.iterdir())


def test_the_bar_shows_speed_time_left_and_failures(photos, detections, small, tmp_path, monkeypatch) -> None:
    (photos / "b.jpg").write_bytes(b"no photo")
    job = plan(photos, tmp_path / "out", small, detections)
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    progress = Progress(job, show=True, log=None)
    worker = threading.Thread(target=lambda: run_worker(job.folder, begin, threads=1))
    worker.start()
    worker.join()
    progress.finish()
    last = shown.getvalue().rpartition("\r")[2]
    assert "5/5" in last  # a photo that cannot be read is done with, too
    assert "photo/s" in last or "s/photo" in last
    assert "1 errors" in last


def test_the_log_gets_a_line_a_minute_with_speed_and_time_left(
    photos, detections, small, tmp_path, monkeypatch
) -> None:
    job = plan(photos, tmp_path / "out", small, detections)
    now = [1000.0]
    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
    lines: list[str] = []
    progress = Progress(job, show=False, log=lines.append, started=1000.0)
    alive = Claims(job.folder / "claims")
    alive.take(job.names[0])
    alive.note(job.names[0], 2)
    for second in range(1, 130):
        now[0] = 1000.0 + second
        progress.update()
    first, second = map(json.loads, lines)
    assert first["photos_running"] == 2
    assert first["seconds_left"] == 90  # 2 photos in 60 s, 3 are left
    assert second["photos_per_second"] == round(2 / 120, 2)


def test_an_address_without_ray_is_refused() -> None:
    with pytest.raises(SettingsError, match="needs the engine ray"):
        Running(address="auto")


def test_a_gpu_has_one_worker_unless_another_number_is_given() -> None:
    assert Running().on("cpu").workers is None
    assert Running().on("cuda").workers == 1
    assert Running(workers=3).on("cuda").workers == 3


def test_the_device_that_was_asked_for_goes_to_ray_and_not_what_it_means_here(
    photos, small, tmp_path, monkeypatch
) -> None:
    """The machine that plans may have no GPU, those of the cluster have some."""
    from mobilesam.engines import ray

    asked: list[str] = []
    monkeypatch.setattr(ray, "run_ray", lambda *_, device, address: asked.append(device))
    running = Running(engine="ray").on("auto", "cpu")
    assert running.workers is None
    run_job(plan(photos, tmp_path / "out", small, None), begin, running, lambda *_: [], worker_mb=1.0)
    assert asked == ["auto"]


def test_looking_at_a_slow_folder_takes_a_twentieth_of_the_time(photos, small, tmp_path, monkeypatch) -> None:
    job = plan(photos, tmp_path / "out", small, None)
    progress = Progress(job, show=True, log=None)
    original, now, looks = progress.counter.status, [1000.0], []

    def slow():
        looks.append(now[0])
        now[0] += 3.0
        return original()

    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.counter, "status", slow)
    while now[0] < 1200.0:
        progress.update()
        now[0] += 0.5
    assert len(looks) == 4
    progress.bar.close()


def test_without_a_bar_the_folder_is_looked_at_only_for_the_log(photos, small, tmp_path, monkeypatch) -> None:
    progress = Progress(plan(photos, tmp_path / "out", small, None), show=False, log=None)
    monkeypatch.setattr(progress.counter, "status", lambda: pytest.fail("nobody asked"))
    progress.update()
