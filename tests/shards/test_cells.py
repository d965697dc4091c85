from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.annotate.job import AnnotateJob
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import results_of, write_coco
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import annotate_shard
from mobilesam.errors import DataError
from mobilesam.everything.settings import EverythingSettings
from mobilesam.shards import cells
from mobilesam.shards.job import open_job
from mobilesam.shards.tasks import Task
from tests.helpers.annotating import CHOICE, plan

pa = pytest.importorskip("pyarrow")
from pyarrow.parquet import write_table  # noqa: E402

NAMES = ["a.png", "b.jpg", "c.png", "sub/a.png", "sub/d.jpg"]


@pytest.fixture
def encoded(photos) -> list[bytes]:
    return [(photos / name).read_bytes() for name in NAMES]


def tasks_of(job) -> list[Task]:
    return [task for i in range(job.num_shards) for task in job.shard(i).tasks]


def columns(kind: str, encoded: list[bytes]) -> dict[str, object]:
    """The same photos in the ways that people store them."""
    if kind == "hugging face":
        return {"image": [{"bytes": data, "path": name} for data, name in zip(encoded, NAMES, strict=True)]}
    if kind == "bytes and paths":
        return {"photo": encoded, "file_name": NAMES}
    return {"image": encoded, "id": ["a", "b", "c", "d", "e"]}


@pytest.mark.parametrize("kind", ["hugging face", "bytes and paths", "bytes and keys"])
def test_photos_in_a_column_give_the_masks_of_their_files(kind, encoded, photos, detections, small, tmp_path) -> None:
    write_table(pa.table(columns(kind, encoded)), tmp_path / "set.parquet", row_group_size=2)
    prompts = None if kind == "bytes and keys" else detections
    job = plan(tmp_path / "set.parquet", tmp_path / "out", small, prompts)
    assert tasks_of(job) == tasks_of(open_job(tmp_path / "out", AnnotateJob))
    names = ["a", "b", "c", "d", "e"] if kind == "bytes and keys" else NAMES
    assert [str(task.photo) for task in tasks_of(job)] == [f"set/{name}" for name in names]
    assert [task.read() for task in tasks_of(job)] == encoded
    if prompts is None:
        return
    for index in range(job.num_shards):
        annotate_shard(job, job.shard(index), small)
        for task, _, records in results_of(job, index):
            expected = small.embed(photos / task.photo.path).predict_batch(boxes=[a.box_xyxy for a in task.asks])
            assert len(records) == 2
            for record, prediction in zip(records, expected, strict=True):
                assert np.array_equal(masks.from_rle(record["segmentation"]), prediction.best.array)
    assert len(json.loads(write_coco(job).read_text())["annotations"]) == 10


def test_rows_without_bytes_are_files_or_problems(encoded, photos, small, tmp_path) -> None:
    rows = [{"bytes": encoded[0], "path": None}, {"bytes": None, "path": "b.jpg"}, {"bytes": None, "path": None}, None]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    write_table(pa.table({"image": pa.array(rows, kind)}), photos / "set.parquet")
    job = plan(photos / "set.parquet", tmp_path / "out", small, None)
    assert [task.photo.path for task in tasks_of(job)] == ["row_0000000", "b.jpg"]
    assert [task.read() for task in tasks_of(job)] == encoded[:2]
    problems = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert [p["photo"] for p in problems] == ["set/row_0000002", "set/row_0000003"]
    assert "holds no photo" in problems[0]["reason"]


def test_rows_of_one_path_are_told_apart(encoded, small, tmp_path) -> None:
    rows = [{"bytes": data, "path": "image.png"} for data in encoded[:3]]
    write_table(pa.table({"image": rows}), tmp_path / "set.parquet")
    job = plan(tmp_path / "set.parquet", tmp_path / "out", small, None)
    names = [task.photo.path for task in tasks_of(job)]
    assert names == ["image.png", "image_row_0000001.png", "image_row_0000002.png"]


def test_boxes_and_points_of_the_rows_themselves_are_prompts(encoded, small, tmp_path) -> None:
    table = {
        "image": encoded[:3],
        "image_id": [7, 8, 9],
        "objects": [{"bbox": [[1.0, 2.0, 30.0, 40.0], [5.0, 6.0, 7.0, 8.0]], "category": [3, 4]}, None, None],
        "bbox": [None, [[10.0, 10.0, 20.0, 20.0]], None],
        "point": [None, None, [40.0, 50.0]],
    }
    write_table(pa.table(table), tmp_path / "set.parquet")
    settings = AnnotateSettings(prompts="given")
    job = make_plan([str(tmp_path / "set.parquet")], tmp_path / "out", small, CHOICE, settings)
    first, second, third = tasks_of(job)
    assert [(ask.box_xyxy, ask.category_id) for ask in first.asks] == [((1, 2, 31, 42), 3), ((5, 6, 12, 14), 4)]
    assert [ask.box_xyxy for ask in second.asks] == [(10, 10, 30, 30)]
    assert [ask.point_xy for ask in third.asks] == [(40, 50)]
    assert [task.image_id for task in (first, second, third)] == [7, 8, 9]
    annotate_shard(job, job.shard(0), small)
    assert [len(records) for _, _, records in results_of(job, 0)] == [2, 1, 1]


def test_rows_are_read_in_any_order_and_few_stay_in_memory(tmp_path) -> None:
    count = 100
    values = [bytes([i]) * 10 for i in range(count)]
    write_table(pa.table({"image": values}), tmp_path / "set.parquet", row_group_size=60)
    cells.cursor.cache_clear()
    for i in [0, 3, 1, 17, 16, 40, 59, 2, 60, 99, 61]:
        ref = cells.CellRef(str(tmp_path / "set.parquet"), None, "image", divmod(i, 60))
        assert ref.read() == values[i]
        assert (ref.num_bytes, ref.read_end(3)) == (10, values[i][-3:])
        with ref.open() as file:
            assert file.read() == values[i]
    kept = cells.cursor(str(tmp_path / "set.parquet"), "image", 1).kept
    assert sum(len(rows) for _, rows in kept) <= 2 * cells.ROWS
    (tmp_path / "set.parquet").write_bytes(b"")
    broken = cells.Cursor(str(tmp_path / "set.parquet"), "image", 0)
    with pytest.raises(DataError, match="not a Parquet file"):
        broken.read(0)


def test_a_photo_in_a_column_that_is_damaged_costs_its_row(encoded, small, tmp_path) -> None:
    write_table(pa.table({"image": [encoded[0], b"no photo", encoded[2]]}), tmp_path / "set.parquet")
    settings = AnnotateSettings(everything=EverythingSettings(points_per_side=2))
    job = make_plan([str(tmp_path / "set.parquet")], tmp_path / "out", small, CHOICE, settings)
    annotate_shard(job, job.shard(0), small)
    ((photo, _),) = json.loads(job.done_file(job.names[0]).read_text())["errors"]
    assert photo == "set/row_0000001"
    results = list(results_of(job, 0))
    assert [task.photo.path for task, _, _ in results] == ["row_0000000", "row_0000002"]


def test_a_file_without_photos_says_which_columns_it_has(small, tmp_path) -> None:
    write_table(pa.table({"text": ["a"], "size": [1]}), tmp_path / "set.parquet")
    with pytest.raises(DataError, match=r"no column of encoded photos .* but text, size"):
        plan(tmp_path / "set.parquet", tmp_path / "out", small, None)


def test_the_only_column_of_bytes_is_the_photos(encoded, small, tmp_path) -> None:
    write_table(pa.table({"pixels": encoded[:1]}), tmp_path / "one.parquet")
    job = plan(tmp_path / "one.parquet", tmp_path / "out", small, None)
    file = io.BytesIO(tasks_of(job)[0].read())
    assert Image.open(file).size == (96, 96)
