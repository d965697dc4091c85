from __future__ import annotations

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.annotate.job import AnnotateJob, ModelChoice
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import model_row
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import annotate_shard
from mobilesam.engines.claims import Claims
from mobilesam.errors import DataError, ModelError, SettingsError
from mobilesam.shards.job import MANIFEST_FILE, open_job
from tests.helpers.annotating import CHOICE, plan
from tests.helpers.scenes import add_member, write_shard
from tests.helpers.stored import opened


def names(job) -> list[list[str]]:
    return [[task.photo.path for task in job.shard(i).tasks] for i in range(job.num_shards)]


def test_photos_are_grouped_in_order_with_their_prompts(photos, detections, small, tmp_path) -> None:
    job = plan(photos, tmp_path / "out", small, detections)
    assert names(job) == [["a.png", "b.jpg"], ["c.png", "sub/a.png"], ["sub/d.jpg"]]
    assert (job.num_photos, job.num_prompts) == (5, 10)
    first, second = job.shard(1).tasks[1].asks
    assert (first.box_xyxy, second.box_xyxy) == ((10, 20, 60, 80), (50, 10, 90, 80))
    assert (first.category_id, second.category_id, second.score) == (3, 4, 0.75)


def test_a_second_start_opens_the_plan_that_is_there(photos, detections, small, tmp_path) -> None:
    first = plan(photos, tmp_path / "out", small, detections)
    before = (tmp_path / "out" / MANIFEST_FILE).read_bytes()
    assert plan(photos, tmp_path / "out", small, detections) == first == open_job(tmp_path / "out", AnnotateJob)
    assert (tmp_path / "out" / MANIFEST_FILE).read_bytes() == before


def test_the_same_photos_elsewhere_make_the_same_shards(photos, detections, small, tmp_path) -> None:
    first = plan(photos, tmp_path / "out", small, detections)
    (tmp_path / "mount").mkdir()
    moved = photos.rename(tmp_path / "mount" / "photos")
    assert plan(moved, tmp_path / "other", small, detections).names == first.names


def test_a_run_that_was_begun_with_zoom_as_a_word_continues(photos, detections, small, tmp_path) -> None:
    for word, zoom in (("auto", "auto"), ("on", True), ("off", False)):
        first = plan(photos, tmp_path / word, small, detections, zoom=zoom)
        assert first.settings.zoom == zoom
        recorded = json.loads((tmp_path / word / "job.json").read_text())  # as runs of earlier versions wrote it
        assert recorded["asked"]["settings"]["zoom"] == word
        assert plan(photos, tmp_path / word, small, detections, zoom=zoom).names == first.names


@pytest.mark.parametrize("record", [{"zoom": "of"}, {"zoom": ["on"]}])
def test_settings_in_the_files_of_a_run_that_nobody_wrote_so_are_refused(record) -> None:
    with pytest.raises(SettingsError):
        AnnotateSettings.from_record(record)


@pytest.mark.parametrize("change", ["settings", "prompts", "inputs"])
def test_a_run_of_other_settings_prompts_or_inputs_is_refused(change, photos, detections, small, tmp_path) -> None:
    out = tmp_path / "out"
    plan(photos, out, small, detections)
    if change == "settings":
        with pytest.raises(SettingsError, match=r"other settings\.zoom"):
            plan(photos, out, small, detections, zoom=False)
    elif change == "prompts":
        detections.write_text(detections.read_text().replace("50", "51"))
        with pytest.raises(SettingsError, match="other prompts"):
            plan(photos, out, small, detections)
    else:
        with pytest.raises(SettingsError, match="other inputs"):
            plan(photos / "sub", out, small, detections)


def test_another_precision_of_the_same_weights_is_another_model(photos, small, tmp_path) -> None:
    out = tmp_path / "out"
    first = plan(photos, out, small, None)
    coarse = opened(tmp_path / "model", "int8", image_size=256)
    assert coarse.info.weights_sha256 == small.info.weights_sha256
    with pytest.raises(SettingsError, match="begun with other model"):
        plan(photos, out, coarse, None)
    assert not set(plan(photos, tmp_path / "fresh", coarse, None).names) & set(first.names)


def test_a_plan_that_did_not_note_how_weights_are_stored_goes_on_with_the_same_weights(
    photos, small, tmp_path, monkeypatch
) -> None:
    coarse = opened(tmp_path / "model", "int8", image_size=256)
    names = plan(photos, tmp_path / "out", coarse, None).names
    record = json.loads((tmp_path / "out" / "job.json").read_text())
    del record["asked"]["model"]["stored"]
    (tmp_path / "out" / "job.json").write_text(json.dumps(record))
    job = plan(photos, tmp_path / "out", coarse, None)
    monkeypatch.setattr(ModelChoice, "load", lambda self, threads: coarse)
    assert (job.names, job.open_model(None)) == (names, coarse)
    record["asked"]["model"]["weights_sha256"] = "0" * 64
    (tmp_path / "out" / "job.json").write_text(json.dumps(record))
    with pytest.raises(SettingsError, match="begun with other model"):
        plan(photos, tmp_path / "out", coarse, None)


def test_a_worker_whose_files_are_of_another_precision_is_refused(photos, small, tmp_path, monkeypatch) -> None:
    coarse = opened(tmp_path / "model", "int8", image_size=256)
    cases = ((small, coarse, "'embedded'; give"), (coarse, small, "stored as onnx in int8; give"))
    for i, (planned, here, words) in enumerate(cases):
        job = plan(photos, tmp_path / f"out{i}", planned, None)
        monkeypatch.setattr(ModelChoice, "load", lambda self, threads, here=here: here)
        with pytest.raises(ModelError, match=words):
            job.open_model(None)
        monkeypatch.setattr(ModelChoice, "load", lambda self, threads, planned=planned: planned)
        assert job.open_model(None) is planned
    assert model_row(job) == "embedded at 256 px, stored as onnx in int8, onnx"


def test_a_worker_whose_processor_computes_in_another_precision_is_refused(
    photos, small, tmp_path, monkeypatch
) -> None:
    choice = replace(CHOICE, precision="bfloat16", computed="bfloat16")
    job = make_plan([str(photos)], tmp_path / "out", small, choice, AnnotateSettings())
    monkeypatch.setattr(ModelChoice, "load", lambda self, threads: small)
    with pytest.raises(ModelError, match="is computed in bfloat16, which this processor does not"):
        job.open_model(None)
    monkeypatch.setattr(small.backend, "precision", "bfloat16", raising=False)
    assert job.open_model(None) is small


def test_another_folder_of_photos_is_refused_and_a_plan_that_noted_none_is_opened(photos, small, tmp_path) -> None:
    coco = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": []}
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    inputs, settings = [str(tmp_path / "coco.json")], AnnotateSettings()

    def again(output: str, folder: Path) -> AnnotateJob:
        return make_plan(inputs, tmp_path / output, small, CHOICE, settings, photos=folder)

    first = again("out", photos)
    assert again("out", photos) == first
    with pytest.raises(SettingsError, match="other photos"):
        again("out", photos / "sub")
    (tmp_path / "mount").mkdir()
    moved = photos.rename(tmp_path / "mount" / "photos")
    assert again("other", moved).names == first.names
    assert "photos" not in first.identity

    record = json.loads((tmp_path / "out" / "job.json").read_text())
    del record["asked"]["photos"]  # as version 0.1 wrote it
    (tmp_path / "out" / "job.json").write_text(json.dumps(record))
    assert again("out", moved).names == first.names


def test_a_shard_whose_photo_changed_has_another_name(photos, detections, small, tmp_path) -> None:
    first = plan(photos, tmp_path / "out", small, detections)
    os.utime(photos / "c.png", ns=(1, 1))
    second = plan(photos, tmp_path / "other", small, detections)
    assert [a == b for a, b in zip(first.names, second.names, strict=True)] == [True, False, True]


def test_a_folder_with_something_else_is_refused(photos, small, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="holds other files"):
        plan(photos, tmp_path / "out", small, None)


def test_no_photo_and_no_matching_prompt_are_errors(photos, detections, small, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photo"):
        plan(tmp_path / "empty", tmp_path / "out", small, None)
    detections.write_text(json.dumps([{"file_name": "other.jpg", "bbox": [1, 2, 3, 4]}]))
    with pytest.raises(DataError, match="no prompt belongs"):
        plan(photos, tmp_path / "out2", small, detections)


def test_a_plan_that_failed_can_be_made_again(photos, detections, small, tmp_path) -> None:
    good = detections.read_text()
    detections.write_text(json.dumps([{"file_name": "other.jpg", "bbox": [1, 2, 3, 4]}]))
    with pytest.raises(DataError):
        plan(photos, tmp_path / "out", small, detections)
    detections.write_text(good)
    assert plan(photos, tmp_path / "out", small, detections).num_photos == 5


def test_a_plan_that_another_process_finished_between_two_looks_is_not_made_again(
    photos, detections, small, tmp_path, monkeypatch
) -> None:
    """Its workers may be at work already, and a photo may have come meanwhile."""
    original = Claims.take

    def late(self, name):
        if name == ".planning" and not (tmp_path / "out" / "job.json").exists():
            monkeypatch.setattr(Claims, "take", original)
            plan(photos, tmp_path / "out", small, detections)
            Image.new("RGB", (8, 8)).save(photos / "new.png")
        return original(self, name)

    monkeypatch.setattr(Claims, "take", late)
    assert plan(photos, tmp_path / "out", small, detections).num_photos == 5


def problems_of(job) -> dict[str, str]:
    lines = map(json.loads, (job.folder / "problems.jsonl").read_text().splitlines())
    return {one["photo"]: one["reason"] for one in lines}


def test_prompts_that_match_no_photo_are_counted_and_named(photos, small, tmp_path) -> None:
    file = {
        "images": [{"id": 7, "file_name": "c.png"}, {"id": 8, "file_name": "elsewhere\\b.png"}],
        "annotations": [{"image_id": i, "bbox": [1, 2, 30, 40]} for i in (7, 8, 8, 9)],
        "categories": [],
    }
    file["annotations"] += [{"file_name": name, "bbox": [1, 2, 3, 4]} for name in ("sub/d.jpg", "old/c.jpg")]  # type: ignore[operator]
    (tmp_path / "boxes.json").write_text(json.dumps(file))
    job = plan(photos, tmp_path / "out", small, tmp_path / "boxes.json")
    assert (job.num_prompts, job.num_problems) == (2, 3)
    assert problems_of(job) == {
        "boxes.json/elsewhere/b.png": "2 prompts match no photo of the inputs",
        "boxes.json/image_id 9": "1 prompt matches no photo of the inputs",
        "boxes.json/old/c.jpg": "1 prompt matches no photo of the inputs",
    }


def test_prompts_of_a_tar_that_match_no_photo_are_named(small, tmp_path) -> None:
    records = [{"file_name": f"photo_{i}.jpg", "bbox": [1, 2, 3, 4]} for i in ("00", "77")]
    (tmp_path / "boxes.json").write_text(json.dumps(records))
    job = plan(write_shard(tmp_path / "s.tar", 2), tmp_path / "out", small, tmp_path / "boxes.json")
    assert problems_of(job) == {"boxes.json/photo_77.jpg": "1 prompt matches no photo of the inputs"}


def test_own_boxes_that_cannot_be_used_are_counted_and_named(photos, small, tmp_path) -> None:
    good = {"id": 4, "image_id": 7, "bbox": [1, 2, 30, 40]}
    file = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "annotations": [good, {"id": 5, "image_id": 7}, {"id": 6, "image_id": 7, "bbox": [1, 2, None, 4]}],
        "categories": [],
    }
    (photos / "set.json").write_text(json.dumps(file))
    settings = AnnotateSettings(prompts="given")
    job = make_plan([str(photos / "set.json")], tmp_path / "out", small, CHOICE, settings)
    assert (job.num_prompts, job.num_problems) == (1, 2)
    assert list(problems_of(job)) == ["set/a.png#5", "set/a.png#6"]
    assert "no usable box" in problems_of(job)["set/a.png#5"]


@pytest.mark.parametrize("contents", [b"no json", b'{"annotations": 5}'])
def test_own_boxes_in_a_record_that_cannot_be_read_are_named(contents, photos, small, tmp_path) -> None:
    good = json.dumps({"annotations": [{"id": 1, "bbox": [1, 2, 30, 40]}]}).encode()
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, record in (("a", good), ("b", contents)):
            add_member(tar, f"{name}.png", (photos / "a.png").read_bytes())
            add_member(tar, f"{name}.json", record)
    settings = AnnotateSettings(prompts="given")
    job = make_plan([str(tmp_path / "s.tar")], tmp_path / "out", small, CHOICE, settings)
    assert (job.num_photos, job.num_prompts) == (2, 1)
    (reason,) = problems_of(job).values()
    assert reason.startswith("its boxes cannot be read")


def test_coco_files_tars_and_lists_are_inputs(photos, small, tmp_path) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "a.png", "width": 96, "height": 96}, {"id": 8, "file_name": "gone.png"}],
        "annotations": [{"id": 1, "image_id": 7, "bbox": [1, 2, 30, 40], "category_id": 2}],
        "categories": [],
    }
    (photos / "instances.json").write_text(json.dumps(coco))
    job = plan(photos / "instances.json", tmp_path / "coco", small, None)
    (task,) = job.shard(0).tasks
    assert (task.image_id, task.photo.path) == (7, "a.png")
    assert "gone.png" in (tmp_path / "coco" / "problems.jsonl").read_text()

    job = plan(write_shard(tmp_path / "s.tar", 3), tmp_path / "tar", small, None)
    assert names(job) == [["photo_00", "photo_01"], ["photo_02"]]

    (photos / "list.txt").write_text("c.png\nsub/d.jpg\n")
    assert names(plan(photos / "list.txt", tmp_path / "list", small, None)) == [["c.png", "sub/d.jpg"]]


def test_parquet_files_list_photos_and_boxes(photos, small, tmp_path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pa.table({"path": ["a.png", "b.jpg"]}), photos / "photos.parquet")
    rows = {"file_name": ["b.jpg"], "bbox": [[1.0, 2.0, 3.0, 4.0]], "score": [0.5]}
    write_table(pa.table(rows), tmp_path / "boxes.parquet")
    job = plan(photos / "photos.parquet", tmp_path / "out", small, tmp_path / "boxes.parquet")
    assert [len(task.asks) for task in job.shard(0).tasks] == [0, 1]
    assert job.shard(0).tasks[1].asks[0].box_xyxy == (1, 2, 4, 6)
    (tmp_path / "no.parquet").write_bytes(b"PAR0")
    with pytest.raises(DataError, match="not a Parquet file"):
        plan(tmp_path / "no.parquet", tmp_path / "out2", small, None)


def test_a_cut_off_manifest_is_refused(photos, small, tmp_path) -> None:
    plan(photos, tmp_path / "out", small, None)
    path = tmp_path / "out" / MANIFEST_FILE
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")
    with pytest.raises(DataError, match="missing or cut off"):
        open_job(tmp_path / "out", AnnotateJob)


def test_hidden_files_and_our_own_pictures_are_no_photos(photos, small, tmp_path) -> None:
    mobilesam.Mask(np.ones((4, 4), bool), 1.0).save(photos / "mask.png")
    Image.new("RGB", (4, 4)).save(photos / "._a.png")
    assert plan(photos, tmp_path / "out", small, None).num_photos == 5


def test_a_shard_can_prompt_with_its_own_boxes(photos, detections, small, tmp_path) -> None:
    first = plan(photos, tmp_path / "out", small, detections)
    annotate_shard(first, first.shard(0), small)
    settings = AnnotateSettings(prompts="given")
    job = make_plan([first.result(first.names[0])], tmp_path / "again", small, CHOICE, settings)
    boxes = [ask.box_xyxy for ask in job.shard(0).tasks[0].asks]
    image = small.embed(photos / "a.png")
    expected = [found.best.box_xyxy for found in image.predict_batch(boxes=[(10, 20, 60, 80), (50, 10, 90, 80)])]
    assert boxes == [(x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in expected]  # SA-1B's boxes end in the last pixel


def test_a_folder_has_no_boxes_of_its_own(photos, small, tmp_path) -> None:
    with pytest.raises(DataError, match="comes with no boxes"):
        make_plan([str(photos)], tmp_path / "out", small, CHOICE, AnnotateSettings(prompts="given"))


@pytest.mark.parametrize("contents", ['{"annotations": 5, "images": []}', '{"annotations": {}, "images": []}'])
def test_a_prompt_file_without_a_list_is_named(contents, photos, detections, small, tmp_path) -> None:
    detections.write_text(contents)
    with pytest.raises(DataError, match="'annotations' must be a list"):
        plan(photos, tmp_path / "out", small, detections)


def test_a_list_that_is_no_text_is_named(photos, small, tmp_path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a.png\n\xff\xfe\n")
    with pytest.raises(DataError, match=r"list\.txt' cannot be read"):
        plan(tmp_path / "list.txt", tmp_path / "out", small, None)
