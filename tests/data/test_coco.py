from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from mobilesam.data.coco import NOT_THERE, SHARED
from mobilesam.data.layouts import read
from mobilesam.data.photo import PhotoRef, Problem
from tests.helpers.scenes import save_picture


def grey(path: Path, value: int) -> None:
    save_picture(path, np.full((8, 8, 3), value, np.uint8))


def coco_file(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    (folder / "t.json").write_text(json.dumps({"images": images, "annotations": []}))
    return folder / "t.json"


def values(path: Path, photos: Path | None = None) -> dict[str, int | str]:
    """Name → grey value of the photo that is found, or why there is none."""
    return {
        item.name: int(item.open()[0, 0, 0]) if isinstance(item, PhotoRef) else item.reason
        for item in read(path, photos=photos)
        if isinstance(item, PhotoRef | Problem)
    }


def test_a_photo_of_the_whole_path_is_preferred_to_one_of_the_bare_name(tmp_path: Path) -> None:
    grey(tmp_path / "annotations" / "a.png", 1)
    grey(tmp_path / "images" / "x" / "a.png", 2)
    path = coco_file(tmp_path / "annotations", "x/a.png")
    assert values(path) == {"x/a.png": 2}


def test_a_bare_name_that_two_records_share_is_given_to_neither(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", 1)
    grey(tmp_path / "b.png", 2)
    grey(tmp_path / "y" / "a.png", 3)
    path = coco_file(tmp_path, "x/a.png", "y\\a.png", "x/b.png", "x/c.png")
    assert values(path) == {"x/a.png": SHARED, "y/a.png": 3, "x/b.png": 2, "x/c.png": NOT_THERE}
    assert values(path, tmp_path / "y") == {
        "x/a.png": SHARED,
        "y/a.png": SHARED,
        "x/b.png": NOT_THERE,
        "x/c.png": NOT_THERE,
    }


def test_a_record_of_the_bare_name_itself_has_it_alone(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", 1)
    path = coco_file(tmp_path, "a.png", "x/a.png")
    assert values(path) == {"a.png": 1, "x/a.png": SHARED}


def test_a_photo_of_two_image_ids_is_there_once_with_the_objects_of_both(tmp_path: Path) -> None:
    grey(tmp_path / "a.png", 1)
    path = coco_file(tmp_path, "a.png", "a.png", "", "", "b.png", "b.png")
    data = json.loads(path.read_text())
    square = [[1, 1, 5, 1, 5, 5, 1, 5]]
    data["annotations"] = [{"id": 7 + i, "image_id": i % 2, "segmentation": square} for i in range(3)]
    data["images"].append({"id": 1, "file_name": "c.png"})
    path.write_text(json.dumps(data))
    photo, *problems = read(path)
    assert isinstance(photo, PhotoRef)
    assert photo.truth is not None
    assert [one.id for one in photo.truth.read(photo.id).objects] == ["7", "9", "8"]
    assert photo.image_ids == (0, 1)
    assert [one.id.path for one in problems] == ["images[2]", "images[3]", "b.png", "images[6]"]
