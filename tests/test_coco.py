from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.coco import read_sources
from mobilesam.errors import DataError
from mobilesam.shards import read_photo


def write_coco(folder: Path) -> Path:
    (folder / "images").mkdir()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / "images" / "a.jpg")
    square = [10, 5, 30, 5, 30, 25, 10, 25]
    annotations = [
        {"id": 1, "image_id": 7, "segmentation": [square], "iscrowd": 0},
        {"id": 2, "image_id": 7, "segmentation": {"size": [40, 60], "counts": [0, 40, 2360]}, "iscrowd": 0},
        {"id": 3, "image_id": 7, "segmentation": {"size": [40, 60], "counts": [0, 2400]}, "iscrowd": 1},
    ]
    images = [{"id": 7, "file_name": "a.jpg", "height": 40, "width": 60}]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_polygons_and_run_lengths_become_masks_and_crowds_are_left_out(tmp_path: Path) -> None:
    (source,) = read_sources(str(write_coco(tmp_path)))
    photo = read_photo(source)
    assert photo.rgb.shape == (40, 60, 3)
    assert len(photo.annotations) == 2
    square = photo.mask(0)
    assert square[15, 20]
    assert square.sum() == photo.annotations[0]["area"] == 400
    assert photo.mask(1)[:, 0].all()
    assert not photo.mask(1)[:, 1:].any()


def test_a_photo_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_coco(tmp_path)
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"'a\.jpg' is not there; give its folder as data\.photos"):
        list(read_sources(str(path)))
    with pytest.raises(DataError, match="not a COCO annotation file"):
        list(read_sources(str(tmp_path / "none.json")))
