"""Object stores, against moto's server: a program of its own that speaks S3 over HTTP."""

from __future__ import annotations

import pytest

from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of, write_coco
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import begin
from mobilesam.errors import DataError
from mobilesam.remote import filesystem, find, open_url
from mobilesam.shards.worker import redo_missing, run_worker
from tests.helpers.annotating import CHOICE, plan
from tests.helpers.s3 import needs_store, put, start
from tests.helpers.scenes import write_shard

pytestmark = needs_store


@pytest.mark.parametrize("form", ["sa1b", "parquet"])
def test_photos_and_results_in_a_store_give_what_the_disk_gives(
    form, store, photos, detections, small, tmp_path
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    put(photos, f"{store}/{form}/photos")
    put(write_shard(tmp_path / "s.tar", 2), f"{store}/{form}/photos/s.tar")
    settings = AnnotateSettings(prompts="given", form=form, shard_photos=2)
    inputs, results = [f"{store}/{form}/photos/"], f"{store}/{form}/masks"
    job = make_plan(inputs, tmp_path / "out", small, CHOICE, settings, prompts=detections, results=results)
    run_worker(job.folder, begin, threads=1)
    found = [one for i in range(job.num_shards) for one in results_of(job, i)]
    there = {task.photo.path: records for task, _, records in found}

    local = plan(photos, tmp_path / "local", small, detections, form=form)
    run_worker(local.folder, begin, threads=1)
    here = {task.photo.path: records for i in range(local.num_shards) for task, _, records in results_of(local, i)}
    keys = ("segmentation", "area", "prompt_id", "category_id")
    for name, records in here.items():
        assert [[r[k] for k in keys] for r in there[name]] == [[r[k] for k in keys] for r in records]
    assert len(list(find(results))) == job.num_shards == 4
    assert "photo_00" in write_coco(job).read_text()
    assert not list((tmp_path / "out" / "shards").iterdir())


def test_an_object_that_changed_after_the_plan_is_an_error(store, photos, small, tmp_path) -> None:
    put(photos, f"{store}/changed")
    job = make_plan([f"{store}/changed"], tmp_path / "out", small, CHOICE, AnnotateSettings())
    (photos / "a.png").write_bytes(b"another")
    put(photos, f"{store}/changed")
    run_worker(job.folder, begin, threads=1)
    assert "changed after" in job.done_file(job.names[0]).read_text()


def test_a_missing_object_is_an_oserror(store) -> None:
    with pytest.raises(OSError, match="nothing"):
        open_url(f"{store}/nothing.jpg").read()


def test_parquet_files_in_a_store_are_inputs_and_a_deleted_result_is_made_again(store, photos, small, tmp_path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    encoded = [(photos / name).read_bytes() for name in ("a.png", "b.jpg")]
    table = {"image": encoded, "bbox": [[10.0, 20.0, 50.0, 60.0]] * 2}
    write_table(pa.table(table), tmp_path / "set.parquet")
    put(tmp_path / "set.parquet", f"{store}/table/set.parquet")
    settings, results = AnnotateSettings(prompts="given"), f"{store}/table-masks"
    job = make_plan([f"{store}/table"], tmp_path / "out", small, CHOICE, settings, results=results)
    run_worker(job.folder, begin, threads=1)
    assert [task.read() for task, _, _ in results_of(job, 0)] == encoded
    assert redo_missing(job) == 0
    found, path = filesystem(job.result(job.names[0]))
    found.rm_file(path)
    assert redo_missing(job) == 1
    assert not job.finished()


@pytest.mark.parametrize("lost", ["photos", "results"])
def test_a_store_that_is_lost_ends_the_run_and_costs_no_shard(
    lost, photos, detections, small, tmp_path, monkeypatch
) -> None:
    server, values = start()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    kind = type(filesystem("s3://lost")[0])
    kind.clear_instance_cache()  # or it would be the one of the other server
    monkeypatch.setattr(kind, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    found, _ = filesystem("s3://lost")
    found.mkdir("lost")
    put(photos, "s3://lost/photos")
    inputs = ["s3://lost/photos"] if lost == "photos" else [str(photos)]
    results = "s3://lost/masks" if lost == "results" else ""
    settings = AnnotateSettings(prompts="given", shard_photos=2)
    job = make_plan(inputs, tmp_path / "out", small, CHOICE, settings, prompts=detections, results=results)
    server.kill()
    server.wait()
    found.invalidate_cache()
    with pytest.raises(DataError, match="does not answer or refuses"):
        run_worker(job.folder, begin, threads=1)
    assert not job.finished()
    assert not job.set_aside()
    assert not [path for path in (tmp_path / "out" / "claims").iterdir() if path.read_text()]
    with pytest.raises(OSError, match="does not answer or refuses"):
        make_plan(["s3://lost/photos"], tmp_path / "other", small, CHOICE, settings, prompts=detections)
    kind.clear_instance_cache()
