from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam import EverythingSettings, masks
from mobilesam.annotate.forms import member_names, open_writer
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of, unclear_rows
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import Annotated, annotate_shard, decode
from mobilesam.data.layouts import read
from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.image import open_photo, open_stored
from mobilesam.shards.records import all_done
from tests.helpers.annotating import CHOICE, plan
from tests.helpers.scenes import write_shard


def iou(a, b) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("form", ["sa1b", "parquet"])
def test_masks_equal_those_of_the_python_api(form, photos, detections, small, tmp_path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    job = plan(photos, tmp_path / "out", small, detections, form=form)
    for index in range(job.num_shards):
        annotate_shard(job, job.shard(index), small)
        for task, hw, records in results_of(job, index):
            assert hw == (96, 96)
            expected = small.embed(photos / task.photo.path).predict_batch(boxes=[a.box_xyxy for a in task.asks])
            for record, prediction in zip(records, expected, strict=True):
                assert np.array_equal(masks.from_rle(record["segmentation"]), prediction.best.array)
                assert record["area"] == prediction.best.area


@pytest.mark.parametrize("form", ["sa1b", "parquet"])
def test_the_same_shard_gives_the_same_bytes(form, photos, detections, small, tmp_path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    written = []
    for name in ("one", "two"):
        job = plan(photos, tmp_path / name, small, detections, form=form)
        annotate_shard(job, job.shard(0), small)
        written.append(Path(job.result(job.names[0])).read_bytes())
    assert written[0] == written[1]


def test_training_reads_the_shards_back(photos, detections, small, tmp_path) -> None:
    job = plan(photos, tmp_path / "out", small, detections)
    annotate_shard(job, job.shard(1), small)
    first, second = read(Path(job.result(job.names[1])))
    assert [item.id.path for item in (first, second)] == ["c", "sub/a"]
    assert first.open().shape == (96, 96, 3)
    assert (photos / "c.png").read_bytes() == first.file.read()
    expected = small.embed(photos / "c.png").predict(box=[10, 20, 60, 80]).best.array
    assert np.array_equal(first.annotation().objects[0].mask((96, 96)), expected)


def test_all_masks_are_those_of_segment_everything(photos, small, tmp_path) -> None:
    from mobilesam import segment_everything

    few = EverythingSettings(points_per_side=4)
    job = plan(photos, tmp_path / "out", small, None, everything=few)
    annotate_shard(job, job.shard(0), small)
    task, _, records = next(results_of(job, 0))
    expected = segment_everything(small, photos / task.photo.path, settings=few)
    assert [record["segmentation"] for record in records] == [mask.rle() for mask in expected]


@pytest.mark.parametrize("are_given", [True, False])
def test_a_photo_that_uses_up_the_memory_costs_itself_and_not_its_shard(
    are_given, photos, detections, small, tmp_path, monkeypatch
) -> None:
    embed, calls = type(small).embed, []

    def failing(self, photo):
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return embed(self, photo)

    few = EverythingSettings(points_per_side=2)
    job = plan(photos, tmp_path / "out", small, detections if are_given else None, everything=few)
    monkeypatch.setattr(type(small), "embed", failing)
    annotate_shard(job, job.shard(0), small)
    assert [task.photo.path for task, _, _ in results_of(job, 0)] == ["b.jpg"]
    record = json.loads(job.done_file(job.names[0]).read_text())
    assert record["photos_failed"] == 1
    assert record["errors"] == [["photos/a.png", "the photo needs more memory than there is; make it smaller"]]


def test_a_bad_photo_costs_its_row_and_not_its_shard(photos, detections, small, tmp_path) -> None:
    (photos / "b.jpg").write_bytes(b"no photo")
    job = plan(photos, tmp_path / "out", small, detections)
    annotate_shard(job, job.shard(0), small)
    record = json.loads(job.done_file(job.names[0]).read_text())
    assert (record["photos"], record["masks"]) == (1, 2)
    ((photo, reason),) = record["errors"]
    assert photo == "photos/b.jpg"
    assert "cannot identify" in reason or "no photo" in reason or "not" in reason


def test_a_bad_prompt_costs_itself_alone(photos, detections, small, tmp_path) -> None:
    boxes = [[10, 20, 50, 60], [500, 500, 20, 20], [50, 10, 40, 70]]
    detections.write_text(json.dumps([{"file_name": "a.png", "bbox": box} for box in boxes]))
    job = plan(photos, tmp_path / "out", small, detections)
    annotate_shard(job, job.shard(0), small)
    record = json.loads(job.done_file(job.names[0]).read_text())
    assert record["masks"] == 2
    assert [photo for photo, _ in record["errors"]] == ["photos/a.png#1"]


def test_a_photo_that_changed_after_the_plan_is_an_error(photos, detections, small, tmp_path) -> None:
    job = plan(photos, tmp_path / "out", small, detections)
    os.utime(photos / "a.png", ns=(1, 1))
    annotate_shard(job, job.shard(0), small)
    ((photo, reason),) = json.loads(job.done_file(job.names[0]).read_text())["errors"]
    assert (photo, "changed after" in reason) == ("photos/a.png", True)


def test_boxes_drawn_on_stored_pixels_fit_a_photo_that_is_stored_sideways(small, tmp_path) -> None:
    rgb = np.full((60, 120, 3), 90, np.uint8)
    rgb[20:50, 70:110] = (230, 200, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = tmp_path / "turned"
    folder.mkdir()
    Image.fromarray(rgb).save(folder / "t.jpg", exif=exif, quality=95)
    coco = {
        "images": [{"id": 1, "file_name": "t.jpg", "width": 120, "height": 60}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [70, 20, 40, 30], "category_id": 1}],
        "categories": [],
    }
    (folder / "c.json").write_text(json.dumps(coco))
    from mobilesam.annotate.plan import make_plan
    from mobilesam.annotate.settings import AnnotateSettings
    from tests.helpers.annotating import CHOICE

    job = make_plan([str(folder / "c.json")], tmp_path / "out", small, CHOICE, AnnotateSettings(prompts="given"))
    annotate_shard(job, job.shard(0), small)
    ((_, hw, (record,)),) = results_of(job, 0)
    truth = np.zeros((60, 120), bool)
    truth[20:50, 70:110] = True
    assert hw == (60, 120)
    assert iou(masks.from_rle(record["segmentation"]), truth) > 0.9


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_names_in_a_tar_are_unique_and_do_not_depend_on_the_order(order, small, tmp_path) -> None:
    names, colours = ("a_png.jpg", "a.jpg", "a.png"), ("red", "green", "blue")
    for name, colour in zip(names, colours, strict=True):
        Image.new("RGB", (40, 40), colour).save(tmp_path / name)
    (tmp_path / "photos.txt").write_text("".join(f"{names[i]}\n" for i in order))
    few = EverythingSettings(points_per_side=2)
    job = plan(tmp_path / "photos.txt", tmp_path / "out", small, None, shard_photos=3, everything=few)
    annotate_shard(job, job.shard(0), small)
    items = read(Path(job.result(job.names[0])))
    found = {item.id.path: item.file.read() for item in items if isinstance(item, PhotoRef)}
    expected = {"a_png": "a_png.jpg", "a_jpg": "a.jpg", "photos_a_png": "a.png"}
    assert found == {name: (tmp_path / photo).read_bytes() for name, photo in expected.items()}
    assert {str(task.photo) for task, _, _ in results_of(job, 0)} == {f"photos/{name}" for name in names}


def test_names_in_a_tar_are_paths_where_no_two_are_equal() -> None:
    def names(*paths: str) -> list[str]:
        return list(member_names([PhotoId("s", path) for path in paths]).values())

    long = "x" * 240
    assert names("b.jpg", "sub/b.png", "photo.1", f"{long}.jpg") == ["b", "sub/b", "photo.1", long]
    assert names("photo.1", "photo.1.jpg", "sub/a.jpg", "a.jpg") == ["photo.1", "photo.1_jpg", "sub/a", "a"]
    upper, lower = names("sub/A.jpg", "sub/a.jpg")  # one file on many disks
    assert (upper[:6], lower[:6]) == ("sub/A_", "sub/a_")
    assert upper.lower() != lower.lower()


def test_names_in_a_tar_lie_inside_of_it_wherever_a_list_leads() -> None:
    paths = ("../one/a.jpg", "/one/a.png", "one/./c.jpg", "../../d.jpg", "C:/e.jpg", "s3://bucket/f.jpg", "g.jpg")
    photos = [PhotoId("list", path) for path in paths]
    names = member_names(photos)
    assert [names[photo] for photo in photos[2:]] == ["one/c", "d", "C/e", "s3/bucket/f", "g"]
    assert [names[photo] for photo in photos[:2]] == ["one/a_jpg", "one/a_png"]
    assert member_names(photos[::-1]) == names
    alike = [PhotoId("list", path) for path in ("../one/a.jpg", "one/a.jpg", "/one/a.jpg")]
    found = member_names(alike)
    assert len(set(found.values())) == 3
    assert member_names(alike[::-1]) == found
    assert not any(name.startswith("/") or ".." in name.split("/") for name in found.values())


def test_a_tar_of_photos_that_a_list_names_from_elsewhere_can_be_extracted(photos, small, tmp_path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.txt").write_text(f"../photos/a.png\n{photos}/b.jpg\n")
    job = plan(tmp_path / "lists" / "list.txt", tmp_path / "out", small, None)
    writer = open_writer("sa1b", tmp_path / "x.tar", {}, [task.photo for task in job.shard(0).tasks])
    with writer:
        for task in job.shard(0).tasks:
            writer.add(Annotated(task, task.read(), (96, 96), []))
    with tarfile.open(tmp_path / "x.tar") as tar:
        tar.extractall(tmp_path / "there", filter="data")
    names = ["photos/a.png", f"{str(photos).lstrip('/')}/b.jpg"]
    assert all((tmp_path / "there" / name).is_file() for name in names)
    records = [json.loads(path.read_text())["image"]["photo"] for path in (tmp_path / "there").rglob("*.json")]
    assert sorted(records) == sorted(["list/../photos/a.png", f"list/{photos}/b.jpg"])


def test_photos_of_a_tar_keep_their_kind(small, tmp_path) -> None:
    few = EverythingSettings(points_per_side=2)
    job = plan(write_shard(tmp_path / "s.tar", 2), tmp_path / "out", small, None, everything=few)
    annotate_shard(job, job.shard(0), small)
    with tarfile.open(job.result(job.names[0])) as tar:
        assert tar.getnames() == ["photo_00.jpg", "photo_00.json", "photo_01.jpg", "photo_01.json"]


def test_boxes_of_a_shard_fit_a_photo_that_is_stored_sideways(small, tmp_path) -> None:
    import io
    import tarfile

    from mobilesam.annotate.plan import make_plan
    from mobilesam.annotate.settings import AnnotateSettings
    from tests.helpers.annotating import CHOICE

    rgb = np.full((60, 120, 3), 90, np.uint8)
    rgb[20:50, 70:110] = (230, 200, 60)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = io.BytesIO()
    Image.fromarray(rgb).save(picture, "JPEG", exif=exif, quality=95)
    about = {"image": {"width": 120, "height": 60}, "annotations": [{"id": 1, "bbox": [70, 20, 40, 30]}]}
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, data in (("t.jpg", picture.getvalue()), ("t.json", json.dumps(about).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    job = make_plan([str(tmp_path / "s.tar")], tmp_path / "out", small, CHOICE, AnnotateSettings(prompts="given"))
    annotate_shard(job, job.shard(0), small)
    ((_, hw, (record,)),) = results_of(job, 0)
    truth = np.zeros((60, 120), bool)
    truth[20:50, 70:110] = True
    assert hw == (60, 120)
    assert iou(masks.from_rle(record["segmentation"]), truth) > 0.9


def test_own_boxes_of_a_photo_that_is_upside_down_are_of_the_frame_that_is_chosen(small, tmp_path) -> None:
    """An annotation of a photo turned by 180 degrees does not show on which pixels it was drawn."""
    exif = Image.Exif()
    exif[0x0112] = 3
    rgb = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    Image.fromarray(rgb).convert("RGB").save(tmp_path / "a.jpg", exif=exif.tobytes())
    image = {"id": 1, "file_name": "a.jpg", "width": 96, "height": 64}
    found = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 30, 20], "iscrowd": 0}]
    (tmp_path / "c.json").write_text(json.dumps({"images": [image], "annotations": found, "categories": []}))
    for frame in ("upright", "stored"):
        settings = AnnotateSettings(prompts="given", unclear_frame=frame)
        job = make_plan([str(tmp_path / "c.json")], tmp_path / frame, small, CHOICE, settings)
        (task,) = job.shard(0).tasks
        expected = open_photo(tmp_path / "a.jpg") if frame == "upright" else open_stored(tmp_path / "a.jpg")[0]
        np.testing.assert_array_equal(decode(task, task.read(), settings), expected)
        annotate_shard(job, job.shard(0), small)
        ((_, record),) = all_done(job.folder)
        assert record["unclear_frames"] == 1
        assert unclear_rows(job) == [("turned photos", f"1 whose prompts may be of other pixels; taken as {frame}")]
