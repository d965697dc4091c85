from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, Truth
from mobilesam.data.truths import PixelTruth, RecordTruth, YoloTruth
from mobilesam.shards.tasks import Stated, Task

HERE = "/set/photos/a.jpg"


@pytest.mark.parametrize(
    ("photo", "truth"),
    [
        (FileRef("/set/x.tar", (512, 100)), RecordTruth(FileRef("/set/x.tar", (1536, 20)))),
        (FileRef(HERE), RecordTruth(FileRef("/set/photos/a.json"))),
        (FileRef("s3://bucket/x.tar", (512, 100)), RecordTruth(FileRef("s3://bucket/x.tar", (1536, 20)))),
        (FileRef(HERE), Stated(((60, 120),))),
        (FileRef(HERE), None),
    ],
)
def test_a_task_is_the_same_after_the_plan(photo: FileRef, truth: Truth | None) -> None:
    task = Task(PhotoId("set", "a"), photo, (100, 5), truth=truth)
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task


def test_a_label_picture_is_kept_for_its_size_and_a_label_file_without_one_is_not() -> None:
    picture = PixelTruth("voc", FileRef("/set/masks/a.png"), "instances")
    kept = Task(PhotoId("set", "a"), FileRef(HERE), (100, 5), truth=picture)
    again = Task.from_dict(kept.to_dict())
    assert isinstance(again.truth, PixelTruth)
    assert Path(again.truth.file.path).resolve() == Path("/set/masks/a.png")
    labels = Task(PhotoId("set", "a"), FileRef(HERE), (100, 5), truth=YoloTruth("yolo", FileRef("/set/labels/a.txt")))
    assert Task.from_dict(labels.to_dict()).truth is None


def test_what_a_shard_is_named_by_does_not_tell_where_the_data_set_is_mounted() -> None:
    def record(root: str) -> dict[str, object]:
        truth = RecordTruth(FileRef(f"{root}/photos/a.json"))
        return {**Task(PhotoId("set", "a"), FileRef(f"{root}/photos/a.jpg"), (1, 2), truth=truth).to_dict(), "path": ""}

    assert record("/one") == record("/mnt/two")
