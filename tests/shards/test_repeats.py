"""An input that names a photo several times: the photo is done once, with the prompts of every mention."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.choices import AnnotatePrompts
from mobilesam.data.checksums import Listings
from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, PhotoRef, Problem
from mobilesam.distill.photos import reader_of
from mobilesam.errors import DataError
from mobilesam.shards.inputs import find_tasks
from mobilesam.shards.plan import FOLDERS
from tests.helpers.annotating import CHOICE

BOXES = [[10.0, 20.0, 50.0, 60.0], [50.0, 10.0, 40.0, 70.0], [5.0, 5.0, 20.0, 20.0]]


def planned(
    small, source: Path, prompts: AnnotatePrompts, file: Path | None = None
) -> tuple[list[tuple[str, list[Any]]], list[str]]:
    """The photos of the plan of an input with the ids and left upper corners of their prompts; and its problems."""
    output = source.parent / "out"
    job = make_plan(
        [str(source)], output, small, CHOICE, AnnotateSettings(prompts=prompts, shard_photos=2), prompts=file
    )
    tasks = [task for i in range(job.num_shards) for task in job.shard(i).tasks]
    found = [(task.photo.path, [(ask.id, (ask.box_xyxy or ())[:2]) for ask in task.asks]) for task in tasks]
    assert {path.name for path in output.iterdir()} == {*FOLDERS, "job.json", "manifest.jsonl", "problems.jsonl"}
    return found, (output / "problems.jsonl").read_text().splitlines()


@pytest.mark.parametrize("name", ["list.txt", "list.TXT"])
def test_a_line_of_a_list_and_a_pattern_for_the_same_photo_count_once(photos, small, name: str) -> None:
    (photos / name).write_text("b.jpg\nsub/*.png\n*.jpg\nb.jpg\nnone*.png\nnone*.png\nsub/gone.png\nsub/gone.png")
    found, problems = planned(small, photos / name, "everything")
    assert found == [("b.jpg", []), ("sub/a.png", [])]
    assert [json.loads(line)["photo"] for line in problems] == ["list/none*.png", "list/sub/gone.png"]


@pytest.mark.parametrize("name", ["boxes.parquet", "boxes.Parquet"])
def test_a_row_of_a_parquet_file_for_each_detection_gives_a_photo_all_its_boxes(photos, small, name: str) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pa.table({"path": ["a.png", "b.jpg", "a.png"], "bbox": BOXES}), photos / name)
    found, problems = planned(small, photos / name, "given")
    assert found == [("a.png", [("0", (10, 20)), ("1", (5, 5))]), ("b.jpg", [("0", (50, 10))])]
    assert not problems


@pytest.mark.parametrize("name", ["coco.json", "coco.JSON"])
def test_two_image_ids_of_a_coco_file_for_one_photo_give_it_the_boxes_of_both(photos, small, name: str) -> None:
    images = [{"id": i, "file_name": name, "width": 96, "height": 96} for i, name in ((1, "a.png"), (2, "a.png"))]
    boxes = [{"id": 7 + i, "image_id": 1 + i % 2, "bbox": box} for i, box in enumerate(BOXES)]
    (photos / name).write_text(json.dumps({"images": images, "annotations": boxes, "categories": []}))
    found, _ = planned(small, photos / name, "given")
    assert found == [("a.png", [("7", (10, 20)), ("9", (5, 5)), ("8", (50, 10))])]


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_prompts_by_any_image_id_of_a_photo_are_asked(photos, small, kind: str) -> None:
    if kind == "json":
        images = [{"id": i, "file_name": "a.png", "width": 96, "height": 96} for i in (1, 2)]
        (photos / "in.json").write_text(json.dumps({"images": images, "annotations": []}))
    else:
        pa = pytest.importorskip("pyarrow")
        from pyarrow.parquet import write_table

        write_table(pa.table({"path": ["a.png"] * 2, "image_id": [1, 2]}), photos / "in.parquet")
    prompts = [{"image_id": 1 + i % 2, "bbox": box} for i, box in enumerate(BOXES)]
    (photos / "boxes.json").write_text(json.dumps(prompts))
    found, problems = planned(small, photos / f"in.{kind}", "given", photos / "boxes.json")
    assert found == [("a.png", [("0", (10, 20)), ("1", (5, 5)), ("2", (50, 10))])]
    assert not problems


def test_names_that_a_prompt_file_gives_the_ids_of_one_photo_are_both_its_own(photos, small) -> None:
    images = [{"id": i, "file_name": f"{folder}/a.png"} for i, folder in ((1, "old"), (2, "older"))]
    boxes = [{"image_id": i, "bbox": box} for i, box in zip((1, 2), BOXES, strict=False)]
    (photos / "boxes.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    images = [{"id": i, "file_name": "a.png", "width": 96, "height": 96} for i in (1, 2)]
    (photos / "in.json").write_text(json.dumps({"images": images, "annotations": []}))
    found, problems = planned(small, photos / "in.json", "given", photos / "boxes.json")
    assert found == [("a.png", [("0", (10, 20)), ("1", (50, 10))])]
    assert not problems


def test_a_full_temporary_folder_is_named_with_what_to_do(photos, monkeypatch) -> None:
    connect = sqlite3.connect

    def small_disk(name: str) -> sqlite3.Connection:
        kept = connect(name)
        kept.execute("PRAGMA max_page_count = 3")
        return kept

    monkeypatch.setattr("mobilesam.shards.repeats.sqlite3.connect", small_disk)
    item = PhotoRef(PhotoId("list", "a"), FileRef(str(photos / "a.png")), None)
    with pytest.raises(DataError, match=r"temporary folder \(database or disk is full\): set TMPDIR"):
        list(find_tasks([("list.txt", iter([item] * 200))], Listings()))


def test_a_photo_of_another_file_under_the_same_name_is_a_problem(photos) -> None:
    one, other = (PhotoRef(PhotoId("list", "a"), FileRef(str(photos / name)), None) for name in ("a.png", "c.png"))
    listings, alone = Listings(), Listings()
    task, problem = find_tasks([("list.txt", iter([one, other, one, other]))], listings)
    assert isinstance(problem, Problem)
    assert (task, problem.reason) == (next(find_tasks([("", iter([one]))], alone)), "another photo has the same name")
    assert listings.checksums() == alone.checksums()


def test_a_teacher_embeds_a_photo_of_a_list_once(photos) -> None:
    (photos / "list.txt").write_text("a.png\n*.png\n")
    found = find_tasks([("list.txt", reader_of("upright")(photos / "list.txt", "list", None))], Listings())
    assert [getattr(one, "photo", one) for one in found] == [PhotoId("list", "a.png"), PhotoId("list", "c.png")]


def test_a_teacher_embeds_a_photo_of_two_image_ids_once_without_a_problem(photos) -> None:
    images = [{"id": i, "file_name": "a.png"} for i in (1, 2)]
    (photos / "coco.json").write_text(json.dumps({"images": images, "annotations": []}))
    found = find_tasks([("coco.json", reader_of("upright")(photos / "coco.json", "coco", None))], Listings())
    assert [getattr(one, "photo", one) for one in found] == [PhotoId("coco", "a.png")]


def test_memory_does_not_grow_with_the_photos_of_a_list(tmp_path) -> None:
    import tracemalloc

    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    file = FileRef(str(tmp_path / "a.png"))

    def peak(count: int) -> int:
        items = (PhotoRef(PhotoId("list", f"{i}.png"), file, None) for i in range(count))
        tracemalloc.start()
        assert sum(1 for _ in find_tasks([("list.txt", items)], Listings())) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(1500) < peak(200) + 50_000
