from __future__ import annotations

import errno
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mobilesam.annotate import work
from mobilesam.annotate.work import begin
from mobilesam.engines import claims
from mobilesam.engines.claims import Claims
from mobilesam.errors import DataError, MissingExtraError, ModelError
from mobilesam.files import save_json
from mobilesam.outputs import ALL
from mobilesam.remote import StoreError
from mobilesam.shards import worker
from mobilesam.shards.job import Job
from mobilesam.shards.tasks import Task
from mobilesam.shards.work import ShardResult
from tests.helpers.annotating import plan


def shards(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (job.folder / "shards").iterdir()}


@pytest.fixture
def job(photos, detections, small, tmp_path, monkeypatch) -> Job:
    monkeypatch.setattr(claims.Pauses, "next", lambda _: 0.01)
    return plan(photos, tmp_path / "out", small, detections)


def test_a_worker_finishes_a_run_and_leaves_no_claims(job) -> None:
    assert worker.run_worker(job.folder, begin, threads=1) == 3
    assert job.finished() == set(job.names)
    assert not list((job.folder / "claims").iterdir())
    assert worker.run_worker(job.folder, begin, threads=1) == 0


def test_only_what_is_missing_is_done(job) -> None:
    worker.run_worker(job.folder, begin, threads=1)
    before, name = shards(job), job.names[1]
    job.done_file(name).unlink()
    Path(job.result(name)).unlink()
    assert worker.run_worker(job.folder, begin, threads=1) == 1
    assert shards(job) == before


def test_a_shard_that_fails_three_times_is_set_aside_and_the_others_are_done(job, monkeypatch) -> None:
    original, tried = work.annotate_shard, []

    def fails(job, shard, *rest):
        if shard.name == job.names[1]:
            tried.append(shard.name)
            raise RuntimeError("a kernel that fails")
        original(job, shard, *rest)

    monkeypatch.setattr(work, "annotate_shard", fails)
    assert worker.run_worker(job.folder, begin, threads=1) == 2
    assert len(tried) == 3
    assert json.loads(job.failed_file(job.names[1]).read_text())["reason"] == "RuntimeError: a kernel that fails"
    assert not list((job.folder / "claims").iterdir())


def test_a_shard_whose_workers_died_three_times_is_set_aside(job) -> None:
    for i in range(3):
        dead = Claims(job.folder / "claims", worker=f"dead-{i}")
        assert dead.take(job.names[0])
        (job.folder / "claims" / job.names[0]).unlink()
    worker.run_worker(job.folder, begin, threads=1)
    assert job.set_aside() == {job.names[0]}
    assert "its worker died" in job.failed_file(job.names[0]).read_text()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ESTALE, errno.EFBIG])
def test_a_full_or_lost_disk_ends_the_worker_with_a_message_and_costs_no_try(number, job, monkeypatch) -> None:
    def full(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(work, "annotate_shard", full)
    with pytest.raises(DataError, match="cannot be written"):
        worker.run_worker(job.folder, begin, threads=1)
    assert Claims(job.folder / "claims").tries(job.names[0]) == 0
    assert not Claims(job.folder / "claims").held()


@pytest.mark.parametrize(
    "error", [ModelError("decoder.onnx is damaged; export the model again"), MissingExtraError("parquet", "writing")]
)
def test_a_fault_of_the_model_or_the_installation_ends_the_worker_with_its_message_and_costs_no_try(
    error, job, monkeypatch
) -> None:
    def fails(*_):
        raise error

    monkeypatch.setattr(work, "annotate_shard", fails)
    with pytest.raises(type(error), match=str(error)[:20]):
        worker.run_worker(job.folder, begin, threads=1)
    assert not job.set_aside()
    assert [Claims(job.folder / "claims").tries(name) for name in job.names] == [0, 0, 0]
    assert not Claims(job.folder / "claims").held()


def test_an_extra_that_reading_photos_needs_costs_no_photo(job, monkeypatch) -> None:
    def fails(_):
        raise MissingExtraError("parquet", "reading Parquet files")

    monkeypatch.setattr(Task, "read", fails)
    with pytest.raises(MissingExtraError, match="reading Parquet files"):
        worker.run_worker(job.folder, begin, threads=1)
    assert not job.finished() | job.set_aside()


def test_ctrl_c_gives_the_shard_back_and_leaves_nothing_half_written(job, monkeypatch) -> None:
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "first_look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.run_worker(job.folder, begin, threads=1)
    assert not list((job.folder / "shards").iterdir())
    assert not Claims(job.folder / "claims").held()
    assert Claims(job.folder / "claims").tries(job.names[0]) == 0


def test_another_model_is_refused(job) -> None:
    record = json.loads((job.folder / "job.json").read_text())
    record["asked"]["model"]["weights_sha256"] = "0" * 64
    (job.folder / "job.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="not the model"):
        worker.run_worker(job.folder, begin, threads=1)


def test_a_finished_shard_that_another_worker_still_holds_is_not_waited_for(job) -> None:
    worker.run_worker(job.folder, begin, threads=1)
    Claims(job.folder / "claims", worker="slow").take(job.names[0])
    assert worker.run_worker(job.folder, begin, threads=1) == 0


def test_stems_of_unfinished_records_do_not_count(job: Job) -> None:
    Path(job.folder / "done" / ".mobilesam-0123456789abcdef-x.json").write_text("{")
    assert job.finished() == set()


@pytest.mark.parametrize("error", [StoreError("'s3://photos': the store does not answer"), ConnectionError("gone")])
def test_a_lost_store_ends_the_worker_with_a_message_and_costs_neither_a_try_nor_a_photo(
    error, job, monkeypatch
) -> None:
    from mobilesam.shards.tasks import Task

    def lost(_):
        raise error

    monkeypatch.setattr(Task, "read", lost)
    with pytest.raises(DataError, match="run the command again when it is there"):
        worker.run_worker(job.folder, begin, threads=1)
    assert Claims(job.folder / "claims").tries(job.names[0]) == 0
    assert not job.finished()
    assert not job.set_aside()
    assert not list((job.folder / "shards").iterdir())


@pytest.mark.parametrize("damage", ["gone", "cut off"])
def test_a_finished_shard_whose_file_is_gone_or_cut_off_is_made_again(damage, job, caplog) -> None:
    worker.run_worker(job.folder, begin, threads=1)
    before = shards(job)
    assert worker.redo_missing(job) == 0
    path = Path(job.result(job.names[1]))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    assert worker.redo_missing(job) == 1
    assert "the results of 1 finished shards are gone or cut off" in caplog.text
    assert worker.run_worker(job.folder, begin, threads=1) == 1
    assert shards(job) == before


def test_a_shard_that_another_machine_finishes_while_the_store_is_listed_stays_finished(job, monkeypatch) -> None:
    there = replace(job, results="memory://results")

    def listing(_: str) -> dict[str, int]:
        result = ShardResult(photos=2, bytes=10)
        save_json({**asdict(result), "seconds": 1.0}, job.done_file(job.names[0]), ALL)  # just after its upload
        return {}

    monkeypatch.setattr(worker, "sizes_under", listing)
    assert worker.redo_missing(there) == 0
    assert job.finished() == {job.names[0]}
    monkeypatch.setattr(worker, "sizes_under", lambda _: {})
    assert worker.redo_missing(there) == 1


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path) -> None:
    crew = worker.ShardCrew(tmp_path / "elsewhere", begin)
    with pytest.raises(DataError, match="every worker needs it under this path"):
        next(crew.work(1))


def test_what_dead_workers_left_is_removed_at_the_end(job) -> None:
    worker.run_worker(job.folder, begin, threads=1)
    Claims(job.folder / "claims", worker="dead").take(job.names[0])
    half = job.folder / "shards" / ".mobilesam-0123456789abcdef-x.tar"
    half.write_bytes(b"half")
    worker.tidy(job)
    assert not list((job.folder / "claims").iterdir())
    assert not half.exists()


def test_claims_on_shards_that_are_not_finished_stay(job) -> None:
    Claims(job.folder / "claims", worker="alive").take(job.names[0])
    worker.tidy(job)
    assert Claims(job.folder / "claims").tries(job.names[0]) == 1
