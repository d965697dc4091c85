"""Photos of several inputs in one COCO file: none may get the id or the name of another one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mobilesam.annotate.job import AnnotateJob
from mobilesam.annotate.naming import ImageNames
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.report import write_coco
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.work import annotate_shard
from mobilesam.choices import AnnotatePrompts
from tests.helpers.annotating import CHOICE
from tests.helpers.scenes import draw_scene


def write_input(folder: Path, ids: dict[str, int | str] | None = None, *, seed: int = 0) -> Path:
    """A folder of photos, or a COCO file of photos with these ids and one box each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name in ids or {"a.png": 0, "b.png": 0}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_scene(rng)[0]).save(folder / name)
    if ids is None:
        return folder
    images = [{"id": id, "file_name": name, "width": 96, "height": 96} for name, id in ids.items()]
    boxes = [{"id": i, "image_id": one["id"], "bbox": [10, 20, 50, 60]} for i, one in enumerate(images)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": []}))
    return path


def plan_of(small, output: Path, *inputs: Path, prompts: AnnotatePrompts = "everything") -> AnnotateJob:
    settings = AnnotateSettings(prompts=prompts, shard_photos=2)
    return make_plan([str(one) for one in inputs], output, small, CHOICE, settings)


def named(job: AnnotateJob) -> list[tuple[int | str, str]]:
    names = ImageNames(job)
    return [(names.id(task), names.name(task)) for i in range(job.num_shards) for task in job.shard(i).tasks]


def test_masks_of_two_coco_files_with_the_same_ids_stay_apart(small, tmp_path) -> None:
    train = write_input(tmp_path / "train", {"a.png": 1, "b.png": 2})
    val = write_input(tmp_path / "val", {"c.png": 1}, seed=1)
    job = plan_of(small, tmp_path / "out", train, val, prompts="given")
    for index in range(job.num_shards):
        annotate_shard(job, job.shard(index), small)
    coco = COCO(str(write_coco(job)))
    assert len(coco.getImgIds()) == len(coco.getAnnIds()) == 3
    for image in coco.loadImgs(coco.getImgIds()):
        folder = "val" if image["file_name"] == "c.png" else "train"
        (annotation,) = coco.loadAnns(coco.getAnnIds(image["id"]))
        expected = small.embed(tmp_path / folder / image["file_name"]).predict(box=[10, 20, 60, 80]).best
        assert np.array_equal(coco.annToMask(annotation).astype(bool), expected.array), image
    assert {image["file_name"]: image["id"] for image in coco.loadImgs(coco.getImgIds())}["b.png"] == 2


def test_ids_of_an_input_stay_where_no_other_photo_has_them_and_new_ones_follow(small, tmp_path) -> None:
    train = write_input(tmp_path / "train", {"a.png": 1, "b.png": 40})
    val = write_input(tmp_path / "val", {"c.png": 1, "d.png": "x"})
    folder = write_input(tmp_path / "folder", None)
    found = named(plan_of(small, tmp_path / "out", train, val, folder))
    assert [id for id, _ in found] == [41, 40, 42, "x", 43, 44]
    assert named(plan_of(small, tmp_path / "one", folder)) == [(1, "a.png"), (2, "b.png")]


def test_where_names_repeat_all_get_the_name_of_their_data_set_so_that_they_lead_from_one_folder(
    small, tmp_path
) -> None:
    one, two = (write_input(tmp_path / name) for name in ("one", "two"))
    (two / "b.png").rename(two / "c.png")
    names = [name for _, name in named(plan_of(small, tmp_path / "out", one, two))]
    assert names == ["one/a.png", "one/b.png", "two/a.png", "two/c.png"]
    assert all((tmp_path / name).exists() for name in names)


def test_a_whole_path_stays_where_names_repeat(small, tmp_path) -> None:
    one, two = (write_input(tmp_path / name) for name in ("one", "two"))
    (tmp_path / "list.txt").write_text(f"{one}/a.png\n")
    names = [name for _, name in named(plan_of(small, tmp_path / "out", one, two, tmp_path / "list.txt"))]
    assert names == ["one/a.png", "one/b.png", "two/a.png", "two/b.png", f"{one}/a.png"]


def test_a_path_that_looks_like_another_data_set_does_not_get_its_name(small, tmp_path) -> None:
    one, two = (write_input(tmp_path / name) for name in ("one", "two"))
    deep = write_input(tmp_path / "deep", {"one/a.png": 5})
    names = [name for _, name in named(plan_of(small, tmp_path / "out", one, two, deep))]
    assert names == ["one/a.png", "one/b.png", "two/a.png", "two/b.png", "instances/one/a.png"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_names_do_not_depend_on_the_order_of_the_inputs(small, tmp_path, order) -> None:
    inputs = [write_input(tmp_path / name) for name in ("one", "two")]
    job = plan_of(small, tmp_path / "out", *(inputs[i] for i in order))
    assert sorted(name for _, name in named(job)) == ["one/a.png", "one/b.png", "two/a.png", "two/b.png"]
