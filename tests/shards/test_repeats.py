"""An input that names a photo several times: the photo is done once, with the prompts of every mention."""

from __future__ import annotations

import json
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
from mobilesam.shards.inputs import find_tasks
from mobilesam.shards.plan import FOLDERS
from tests.helpers.annotating import CHOICE

BOXES = [[10.0, 20.0, 50.0, 60.0], [50.0, 10.0, 40.0, 70.0], [5.0, 5.0, 20.0, 20.0]]


def planned(small, source: Path, prompts: AnnotatePrompts) -> tuple[list[tuple[str, list[Any]]], list[str]]:
    """The photos of the plan of an input with the ids and left upper corners of their prompts; and its problems."""
    output = source.parent / "out"
    job = make_plan([str(source)], output, small, CHOICE, AnnotateSettings(prompts=prompts, shard_photos=2))
    tasks = [task for i in range(job.num_shards) for task in job.shard(i).tasks]
    found = [(task.photo.path, [(ask.id, (ask.box_xyxy or ())[:2]) for ask in task.asks]) for task in tasks]
    assert {path.name for path in output.iterdir()} == {*FOLDERS, "job.json", "manifest.jsonl", "problems.jsonl"}
    return found, (output / "problems.jsonl").read_text().splitlines()


def test_a_line_of_a_list_and_a_pattern_for_the_same_photo_count_once(photos, small) -> None:
    (photos / "list.txt").write_text("b.jpg\nsub/*.png\n*.jpg\nb.jpg\nnone*.png\nnone*.png\nsub/gone.png\nsub/gone.png")
    found, problems = planned(small, photos / "list.txt", "everything")
    assert found == [("b.jpg", []), ("sub/a.png", [])]
    assert [json.loads(line)["photo"] for line in problems] == ["list/none*.png", "list/sub/gone.png"]


def test_a_row_of_a_parquet_file_for_each_detection_gives_a_photo_all_its_boxes(photos, small) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pa.table({"path": ["a.png", "b.jpg", "a.png"], "bbox": BOXES}), photos / "boxes.parquet")
    found, problems = planned(small, photos / "boxes.parquet", "given")
    assert found == [("a.png", [("0", (10, 20)), ("1", (5, 5))]), ("b.jpg", [("0", (50, 10))])]
    assert not problems


def test_two_image_ids_of_a_coco_file_for_one_photo_give_it_the_boxes_of_both(photos, small) -> None:
    images = [{"id": i, "file_name": name, "width": 96, "height": 96} for i, name in ((1, "a.png"), (2, "a.png"))]
    boxes = [{"id": 7 + i, "image_id": 1 + i % 2, "bbox": box} for i, box in enumerate(BOXES)]
    (photos / "coco.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": []}))
    found, _ = planned(small, photos / "coco.json", "given")
    assert found == [("a.png", [("7", (10, 20)), ("9", (5, 5)), ("8", (50, 10))])]


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
