"""Object stores, against moto's server: a program of its own that speaks S3 over HTTP."""

from __future__ import annotations

import json

import pytest

from mobilesam.annotate.job import AnnotateJob
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of, write_coco
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import begin
from mobilesam.data.checksums import Listings
from mobilesam.errors import DataError
from mobilesam.remote import filesystem, find, open_url
from mobilesam.shards.inputs import find_tasks, sources
from mobilesam.shards.records import read_done
from mobilesam.shards.tasks import Task
from mobilesam.shards.worker import redo_missing, run_worker
from tests.helpers.annotating import CHOICE, plan
from tests.helpers.s3 import Fault, drop, needs_store, proxied, put, start
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


def check_nothing_happened(job: AnnotateJob) -> None:
    """No shard is done, set aside or tried, and nothing is half written."""
    assert not job.finished()
    assert not job.set_aside()
    assert not [path for path in (job.folder / "claims").iterdir() if path.read_text()]
    assert not list((job.folder / "shards").iterdir())


FAULTS: list[Fault] = [
    (403, "ExpiredToken"),
    (403, "InvalidAccessKeyId"),
    (403, "AccessDenied"),
    (404, "NoSuchBucket"),
    (503, "SlowDown"),
    (500, "InternalError"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[1])
@pytest.mark.parametrize("lost", ["photos", "results"])
def test_a_store_that_refuses_ends_the_run_and_a_second_start_goes_on(
    lost, fault, store, photos, detections, small, tmp_path
) -> None:
    place = f"{store}/{fault[1]}-{lost}"
    put(photos, f"{place}/photos")
    inputs = [f"{place}/photos"] if lost == "photos" else [str(photos)]
    results = f"{place}/masks" if lost == "results" else ""
    settings = AnnotateSettings(prompts="given", shard_photos=2)
    with proxied() as proxy:
        job = make_plan(inputs, tmp_path / "out", small, CHOICE, settings, prompts=detections, results=results)
        proxy.answer = lambda method, path: fault
        with pytest.raises(DataError, match="run the command again when it is there"):
            run_worker(job.folder, begin, threads=1)
        check_nothing_happened(job)
        with pytest.raises(OSError, match=r"does not answer or refuses|there is no bucket"):
            list(find(place))
        proxy.answer = lambda method, path: None
        assert run_worker(job.folder, begin, threads=1) == 3
        assert not [name for name in job.names if read_done(job.done_file(name))["errors"]]


def test_a_photo_that_is_forbidden_among_others_is_its_own_error(store, photos, detections, small, tmp_path) -> None:
    put(photos, f"{store}/forbidden")
    settings = AnnotateSettings(prompts="given", shard_photos=5)
    with proxied() as proxy:
        job = make_plan([f"{store}/forbidden"], tmp_path / "out", small, CHOICE, settings, prompts=detections)
        proxy.answer = lambda method, path: (403, "AccessDenied") if "b.jpg" in path else None
        run_worker(job.folder, begin, threads=1)
    ((photo, reason),) = read_done(job.done_file(job.names[0]))["errors"]
    assert photo == "photos/forbidden/b.jpg"
    assert "refuses" in reason


def test_a_bucket_that_is_deleted_ends_the_run(store, photos, detections, small, tmp_path) -> None:
    found, _ = filesystem("s3://gone")
    for name in ("gone", "gone-results"):
        found.mkdir(name)
    put(photos, "s3://gone/photos")
    settings, results = AnnotateSettings(prompts="given", shard_photos=2), "s3://gone-results/masks"
    job = make_plan(
        ["s3://gone/photos"], tmp_path / "out", small, CHOICE, settings, prompts=detections, results=results
    )
    drop("s3://gone")
    with pytest.raises(DataError, match="there is no bucket 'gone'"):
        run_worker(job.folder, begin, threads=1)
    check_nothing_happened(job)
    with pytest.raises(OSError, match="there is no bucket 'gone'"):
        make_plan(["s3://gone/photos"], tmp_path / "other", small, CHOICE, settings, prompts=detections)

    local = make_plan([str(photos)], tmp_path / "local", small, CHOICE, settings, prompts=detections, results=results)
    run_worker(local.folder, begin, threads=1)
    drop("s3://gone-results")
    with pytest.raises(OSError, match="there is no bucket 'gone-results'"):
        redo_missing(local)
    assert len(local.finished()) == local.num_shards


def test_of_a_tar_only_the_headers_and_the_photos_of_a_shard_are_fetched(store, small, tmp_path) -> None:
    shard = write_shard(tmp_path / "s.tar", 6, scale=20)
    put(shard, f"{store}/ranges/s.tar")
    with proxied() as proxy:
        job = make_plan([f"{store}/ranges/s.tar"], tmp_path / "out", small, CHOICE, AnnotateSettings())
        assert shard.stat().st_size > 2_400_000
        assert proxy.given < 900_000
        for task in job.shard(0).tasks:
            proxy.given = 0
            assert len(task.read()) == task.file.num_bytes
            assert proxy.given < task.file.num_bytes + 1000


def test_lists_coco_files_patterns_and_img2dataset_folders_are_read_from_a_store(store, photos, tmp_path) -> None:
    root = f"{store}/kinds"
    put(photos, f"{root}/photos")
    coco = {"images": [{"id": 7, "file_name": "b.jpg"}], "annotations": []}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    put(tmp_path / "coco.json", f"{root}/photos/coco.json")
    (tmp_path / "list.txt").write_text(f"photos/a.png\nphotos/sub/*.jpg\n{root}/photos/b.jpg\n")
    put(tmp_path / "list.txt", f"{root}/list.txt")
    for name in ("00000.tar", "00001.tar"):
        put(write_shard(tmp_path / name, 1), f"{root}/img2dataset/{name}")
    photo = ["photos/a.png", "photos/sub/d.jpg", f"{root}/photos/b.jpg"]
    assert names_in(f"{root}/list.txt") == [f"photos/kinds/list/{name}" for name in photo]
    assert names_in(f"{root}/photos/coco.json") == ["photos/kinds/photos/coco/b.jpg"]
    assert names_in(str(tmp_path / "coco.json"), photos=f"{root}/photos") == ["coco/b.jpg"]
    assert names_in(f"{root}/img2dataset/*.tar") == [f"photos/kinds/img2dataset/0000{i}/photo_00" for i in (0, 1)]
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pa.table({"url": ["u"], "caption": ["c"], "key": ["0"]}), tmp_path / "00000.parquet")
    put(tmp_path / "00000.parquet", f"{root}/img2dataset/00000.parquet")
    assert len(names_in(f"{root}/img2dataset")) == 2


def names_in(source: str, photos: str | None = None) -> list[str]:
    """The names of the photos of an input."""
    found = find_tasks(sources([source], photos), Listings())
    return [str(one.photo) for one in found if isinstance(one, Task)]
