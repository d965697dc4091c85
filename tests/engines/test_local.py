"""Worker processes for real: killed, interrupted, side by side."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mobilesam.annotate.work import begin
from mobilesam.engines.claims import Claims
from mobilesam.engines.local import run_local
from mobilesam.shards.job import Job
from mobilesam.shards.status import read_status
from mobilesam.shards.worker import ShardCrew
from tests.helpers.annotating import plan
from tests.helpers.killing import killing_a_writer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def shards(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (job.folder / "shards").iterdir()}


@pytest.fixture
def job(photos, detections, small, tmp_path) -> Job:
    return plan(photos, tmp_path / "out", small, detections, shard_photos=1)


@pytest.fixture
def expected(photos, detections, small, tmp_path) -> dict[str, bytes]:
    """The bytes that one undisturbed worker writes."""
    from mobilesam.shards.worker import run_worker

    job = plan(photos, tmp_path / "undisturbed", small, detections, shard_photos=1)
    run_worker(job.folder, begin, threads=1)
    return shards(job)


def test_a_worker_killed_in_the_middle_costs_nothing(job, expected) -> None:
    with killing_a_writer(job.folder / "claims") as killed:
        run_local(ShardCrew(job.folder, begin), 2, 1, lambda: None)
    assert killed
    assert shards(job) == expected
    assert not list((job.folder / "claims").iterdir())
    assert read_status(job.folder).is_complete


def test_two_ranks_share_a_run(job, expected) -> None:
    code = (
        "import sys; from pathlib import Path; from mobilesam.shards.worker import ShardCrew\n"
        "from mobilesam.annotate.work import begin\n"
        "from mobilesam.engines.local import worker_main\n"
        "worker_main(ShardCrew(Path(sys.argv[1]), begin), 1)"
    )
    ranks = [subprocess.Popen([sys.executable, "-c", code, str(job.folder)]) for _ in range(2)]
    assert [rank.wait(120) for rank in ranks] == [0, 0]
    assert shards(job) == expected


def test_sigterm_gives_the_shards_back(photos, detections, tmp_path) -> None:
    out = tmp_path / "run"
    words = [sys.executable, "-m", "mobilesam", "annotate", str(photos), "-o", str(out), "--shard-photos", "1"]
    process = subprocess.Popen([*words, "--workers", "1", "--image-size", "256"], stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not (out / "claims").is_dir() or not list((out / "claims").iterdir()):
        assert time.monotonic() < limit
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) != 0
    with process.stderr as told:
        assert "stopped: what is finished stays" in told.read()
    assert not [p for p in (out / "shards").iterdir() if p.name.startswith(".")]
    assert not Claims(out / "claims").held()


def test_a_run_whose_workers_cannot_start_says_so(job, capfd) -> None:
    from mobilesam.errors import DataError

    (job.folder / "job.json").write_text((job.folder / "job.json").read_text().replace('"onnx"', '"nothing"'))
    with pytest.raises(DataError, match="every worker has ended"):
        run_local(ShardCrew(job.folder, begin), 1, 1, lambda: None)
    assert "unknown backend 'nothing'" in capfd.readouterr().err


def test_nothing_is_left_of_a_run_that_is_complete(job: Job, expected: dict[str, bytes], tmp_path: Path) -> None:
    run_local(ShardCrew(job.folder, begin), 1, 1, lambda: None)
    names = {path.name for path in job.folder.iterdir()}
    assert names == {"claims", "done", "failed", "job.json", "manifest.jsonl", "problems.jsonl", "shards"}
    assert shards(job) == expected
