from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mobilesam.annotate.categories import Categories
from mobilesam.annotate.job import AnnotateJob
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import tile, to_coco, write_coco, write_report
from mobilesam.annotate.run import annotate
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import begin
from mobilesam.errors import DataError
from mobilesam.image import open_photo
from mobilesam.masks import to_rle
from mobilesam.shards.job import JOB_FILE, MANIFEST_FILE, PROBLEMS_FILE, open_job
from mobilesam.shards.report import write_errors
from mobilesam.shards.run import Running
from mobilesam.shards.status import read_status
from mobilesam.shards.worker import redo_missing, run_worker
from tests.helpers.annotating import CHOICE, plan
from tests.helpers.run_lengths import wrapping


@pytest.fixture(params=["sa1b", "parquet"])
def job(request, photos, detections, small, tmp_path):
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    (photos / "b.jpg").write_bytes(b"no photo")
    made = plan(photos, tmp_path / "out", small, detections, form=request.param)
    run_worker(made.folder, begin, threads=1)
    return made


def test_the_coco_file_holds_every_mask(job, small, photos, capsys) -> None:
    coco = COCO(str(write_coco(job)))
    assert [image["file_name"] for image in coco.loadImgs(sorted(coco.getImgIds()))] == [
        "a.png", "c.png", "sub/a.png", "sub/d.jpg",
    ]  # fmt: skip
    assert len(coco.getAnnIds()) == 8
    first = coco.loadAnns([1])[0]
    expected = small.embed(photos / "a.png").predict(box=[10, 20, 60, 80]).best
    assert np.array_equal(coco.annToMask(first).astype(bool), expected.array)
    assert first["bbox"] == list(expected.to_dict()["bbox"])
    assert {annotation["category_id"] for annotation in coco.loadAnns(coco.getAnnIds())} == {3, 4}
    left = {path.name for path in job.folder.iterdir() if path.name.startswith(".") or ".part" in path.name}
    assert left == {".mobilesam.jsonl"}  # which knows the file's checksum, so that corrections are never replaced


def test_the_report_counts_and_names(job) -> None:
    status = read_status(job.folder)
    assert (status.photos, status.photos_done, status.masks, status.errors) == (5, 4, 8, 1)
    files = write_report(job, status, wall_seconds=2.0, new_photos=4, coco=None)
    report = json.loads((job.folder / "report.json").read_text())
    assert (report["photos_per_second"], report["masks"]) == (2.0, 8)
    assert len(report["worst"]) == 4
    (error,) = map(json.loads, (job.folder / "errors.jsonl").read_text().splitlines())
    assert error["photo"] == "photos/b.jpg"
    with Image.open(job.folder / "sample.jpg") as sheet:
        assert sheet.size == (4 * 320, 320)
    assert {file.name for file in files} == {"errors.jsonl", "sample.jpg", "report.json", "report.md"}
    assert "| photos | 4 of 5 |" in (job.folder / "report.md").read_text()


def test_the_rate_of_a_call_is_of_the_photos_of_this_call(photos, detections, small, tmp_path) -> None:
    made = plan(photos, tmp_path / "out", small, detections, zoom_batch=1)
    run_worker(made.folder, begin, threads=1)
    made.done_file(made.names[2]).unlink()  # a shard of one photo is missing
    again = annotate(
        [str(photos)],
        tmp_path / "out",
        choice=CHOICE,
        settings=AnnotateSettings(prompts="given", shard_photos=2),
        prompts=detections,
        running=Running(workers=1),
    )
    assert again.status.photos_done == 5
    report = json.loads((made.folder / "report.json").read_text())
    # Both are rounded: 1 photo in the seconds of this call, of which a run of 5 would be five times as much.
    assert report["photos_per_second"] * report["wall_seconds"] == pytest.approx(1, abs=0.4)


def test_what_could_not_be_planned_is_counted_beside_the_errors_of_shards(photos, detections, small, tmp_path) -> None:
    records = json.loads(detections.read_text())
    detections.write_text(json.dumps([*records, {"file_name": "gone.jpg", "bbox": [1, 2, 3, 4]}]))
    made = plan(photos, tmp_path / "out", small, detections)
    status = read_status(made.folder)
    assert (status.errors, status.problems) == (0, 1)
    assert "1 photos or prompts could not be planned" in status.text()
    write_report(made, status, wall_seconds=2.0, new_photos=0, coco=None)
    assert json.loads((made.folder / "report.json").read_text())["problems"] == 1
    assert (
        "| photos and prompts that could not be planned | 1 (errors.jsonl) |" in (made.folder / "report.md").read_text()
    )
    (error,) = map(json.loads, (made.folder / "errors.jsonl").read_text().splitlines())
    assert error == {"photo": "detections.json/gone.jpg", "reason": "1 prompt matches no photo of the inputs"}


PEOPLE = [{"id": 1, "name": "person", "supercategory": "animal"}, {"id": 3, "name": "car"}]


@pytest.fixture
def coco_input(photos):
    """A COCO file of one photo with a person and something of a category without a record."""
    boxes = [{"id": i, "image_id": 7, "bbox": [1, 2, 30, 40], "category_id": i} for i in (1, 2)]
    file = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": boxes, "categories": PEOPLE}
    (photos / "instances.json").write_text(json.dumps(file))
    return photos / "instances.json"


def named(job, *files) -> dict[int, str]:
    written = json.loads(write_coco(job, [str(file) for file in files]).read_text())
    names = {one["id"]: one["name"] for one in written["categories"]}
    assert {one["category_id"] for one in written["annotations"]} <= names.keys()
    assert [one for one in written["categories"] if one in PEOPLE] == (PEOPLE if files else [])
    return names


def test_the_coco_file_keeps_the_categories_of_a_coco_input(coco_input, small, tmp_path) -> None:
    settings = AnnotateSettings(prompts="given")
    made = make_plan([str(coco_input)], tmp_path / "out", small, CHOICE, settings)
    run_worker(made.folder, begin, threads=1)
    assert named(made, coco_input) == {1: "person", 2: "category 2", 3: "car"}
    assert named(made) == {1: "object", 2: "category 2"}


def test_a_mask_without_a_category_is_no_person(coco_input, photos, small, tmp_path) -> None:
    (tmp_path / "points.json").write_text(json.dumps([{"image_id": 7, "point": [20, 20]}]))
    made = plan(coco_input, tmp_path / "out", small, tmp_path / "points.json")
    run_worker(made.folder, begin, threads=1)
    assert named(made, coco_input) == {1: "person", 3: "car", 4: "object"}
    assert json.loads((made.folder / "instances.json").read_text())["annotations"][0]["category_id"] == 4


def test_categories_that_cannot_be_read_or_differ_are_told(coco_input, tmp_path, caplog) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"categories": [{"id": 3, "name": "bus"}, {"id": 4, "name": "tree"}, {"id": "x"}]}))
    (tmp_path / "list.json").write_text("[]")
    found = Categories([str(coco_input), str(other), str(tmp_path / "*.json"), str(tmp_path / "gone.json"), "s3://a/b"])
    assert {one["id"]: one["name"] for one in found.all()} == {1: "person", 3: "car", 4: "tree"}
    assert "category 3 is 'car' and" in caplog.text
    assert "cannot be read" in caplog.text
    assert "gone.json" in caplog.text


def test_the_command_gives_the_merged_file_the_categories(run, coco_input, tmp_path) -> None:
    words = ("annotate", coco_input, "-o", tmp_path / "out", "--own-boxes", "--coco", "--workers", "1")
    code, _, err = run(*words, "--image-size", 256, "--backend", "onnx")
    assert code == 0, err
    written = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert {one["name"] for one in written["categories"]} == {"person", "car", "category 2"}


def test_the_report_tells_memory_and_the_cost_of_second_looks(job) -> None:
    status = read_status(job.folder)
    write_report(job, status, wall_seconds=2.0, new_photos=4, coco=None)
    assert "second looks" not in (job.folder / "report.md").read_text()  # both boxes are large
    costly = replace(status, second_looks=6, second_look_seconds=3.0, seconds=4.0, photos_done=4)
    write_report(job, costly, wall_seconds=2.0, new_photos=4, coco=None)
    text = (job.folder / "report.md").read_text()
    assert "| second looks | 6, 75% of the time of workers |" in text
    assert "| photos/s of a worker | 1.00; without second looks it would be 4.00 |" in text
    report = json.loads((job.folder / "report.json").read_text())
    assert report["worker_rates"] == [1.0, 4.0]
    if sys.platform != "win32":
        assert 50 < report["worker_mb"] < 4000
        assert f"| memory of a worker, at most | {report['worker_mb']:.0f} MB |" in text


DAMAGED = [b"", b"\0\0\0", b"[]", b"{}", b'{"photos": "many"}']


@pytest.mark.parametrize("contents", DAMAGED)
def test_a_damaged_record_of_a_shard_is_named_and_the_shard_is_made_again(job, contents: bytes) -> None:
    path = job.done_file(sorted(job.finished())[0])
    path.write_bytes(contents)
    with pytest.raises(DataError, match="delete it and start the run again"):
        read_status(job.folder)
    assert redo_missing(job) == 1
    assert not path.exists()


def test_a_damaged_plan_is_named(job) -> None:
    manifest = job.folder / MANIFEST_FILE
    manifest.write_bytes(b"\0" * manifest.stat().st_size)
    with pytest.raises(DataError, match=r"manifest\.jsonl' is damaged"):
        job.shard(0)
    record = json.loads((job.folder / JOB_FILE).read_text())
    for damaged in ({"choice": 5}, {"offsets": []}, {"suffix": "/x"}, {"num_problems": None}):
        (job.folder / JOB_FILE).write_text(json.dumps({**record, **damaged}))
        with pytest.raises(DataError, match=r"job\.json' is damaged"):
            open_job(job.folder, AnnotateJob)


def test_a_list_of_problems_that_is_not_utf8_is_copied(job) -> None:
    (job.folder / PROBLEMS_FILE).write_bytes(b"\xff\n")
    assert write_errors(job).read_text().startswith("\\xff\n")


@pytest.mark.parametrize("counts", ["", "5", None])
def test_run_lengths_of_a_shard_that_was_changed_do_not_reach_native_code(counts) -> None:
    rle = wrapping((24, 32)) if counts is None else {"size": [24, 32], "counts": counts}
    record = {"segmentation": rle, "area": 7, "score": 0.5}
    with pytest.raises(DataError, match="run length"):
        to_coco(record, 1, 1, (24, 32), Categories())
    with pytest.raises(DataError, match="run length"):
        tile(np.zeros((24, 32, 3), np.uint8), (24, 32), [record])
    with pytest.raises(DataError, match="the mask is 32x24"):
        to_coco(record, 1, 1, (32, 24), Categories())


def test_a_tile_of_a_photo_that_was_decoded_smaller_looks_the_same() -> None:
    mask = np.zeros((1600, 2400), bool)
    mask[400:1200, 600:1800] = True
    rgb = np.stack(np.broadcast_arrays(np.arange(1600)[:, None] // 8, np.arange(2400) // 12, 90), axis=-1)
    file = io.BytesIO()
    Image.fromarray(rgb.astype(np.uint8)).save(file, "JPEG", quality=95)
    records = [{"segmentation": to_rle(mask), "area": int(mask.sum())}]
    small = open_photo(file.getvalue(), max_side=640)
    assert small.shape == (800, 1200, 3)
    whole = tile(open_photo(file.getvalue()), mask.shape, records)
    assert tile(small, mask.shape, records).shape == whole.shape
    assert np.abs(tile(small, mask.shape, records).astype(int) - whole).mean() < 3
