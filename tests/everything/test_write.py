from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import mobilesam
from mobilesam.draw import overlay_labels
from mobilesam.everything.results import FoundMask
from mobilesam.everything.write import label_image, write, write_coco, yolo_line
from mobilesam.masks import to_rle

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL = ("labels", "overlay", "masks", "yolo", "coco")


def found(mask: np.ndarray, score: float = 0.9) -> FoundMask:
    crop = (0, 0, mask.shape[1], mask.shape[0])
    return FoundMask(to_rle(mask), score, stability_score=0.95, point_xy=(1.0, 1.0), crop_box_xyxy=crop)


@pytest.fixture
def two() -> list[FoundMask]:
    """A small square inside a large one; the small one is surer."""
    large, small = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    large[5:35, 5:45] = True
    small[10:20, 10:20] = True
    return [found(small), found(large, 0.5)]


def test_the_smaller_mask_lies_on_top(two: list[FoundMask]) -> None:
    labels = label_image(two, (40, 60))
    assert labels[15, 15] == 1
    assert labels[30, 30] == 2
    assert labels[0, 0] == 0
    picture = overlay_labels(np.full((40, 60, 3), 100, np.uint8), labels)
    assert (picture[0, 0] == 100).all()
    assert (picture[15, 15] != picture[30, 30]).any()


def test_a_yolo_line_is_the_outline_in_units_of_the_photo(two: list[FoundMask]) -> None:
    kind, *values = yolo_line(two[0]).split()
    assert kind == "0"
    xy = np.array(values, float).reshape(-1, 2) * (60, 40)
    np.testing.assert_allclose([xy.min(0), xy.max(0)], [[10, 10], [20, 20]], atol=1e-3)


def test_every_form_is_written_and_read_back(two: list[FoundMask], tmp_path: Path, capsys) -> None:
    rgb = np.full((40, 60, 3), 100, np.uint8)
    files = write(tmp_path, "a", "a.jpg", rgb, two, ALL, {"made_by": "id"})
    assert [file.name for file in files] == ["a_labels.png", "a_overlay.jpg", "a_masks", "a.txt", "a.json"]
    with Image.open(tmp_path / "a_labels.png") as labels:
        assert np.unique(np.asarray(labels)).tolist() == [0, 1, 2]
    with Image.open(tmp_path / "a_masks" / "0002.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) > 0, two[1].array)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["annotations"][0]["bbox"] == [10, 10, 9, 9]
    assert record["made_by"] == "id"
    assert [FoundMask.from_sa1b(annotation) for annotation in record["annotations"]] == two
    coco = COCO(str(write_coco(tmp_path, ["a"])))
    assert coco.anns[1]["bbox"] == coco_mask.toBbox(two[0].rle()).tolist() == [10, 10, 10, 10]
    assert coco.anns[1]["score"] == 0.9
    np.testing.assert_array_equal(coco.annToMask(coco.anns[2]), two[1].array)
    capsys.readouterr()


def test_what_is_found_is_a_mask_with_all_that_masks_can_do(two: list[FoundMask], tmp_path: Path) -> None:
    small = replace(two[0], photo=np.full((40, 60, 3), 7, np.uint8))
    assert isinstance(small, mobilesam.Mask)
    assert (small.area, small.box_xyxy, small.score, small.predicted_iou) == (100, (10, 10, 20, 20), 0.9, 0.9)
    assert small.cutout().size == (10, 10)
    small.save(tmp_path / "a.png")
    record = small.to_dict()
    assert record["bbox"] == coco_mask.toBbox(small.rle()).tolist()
    assert (record["score"], record["stability_score"], record["point_xy"]) == (0.9, 0.95, [1.0, 1.0])
    assert len(small.polygons()) == 1
    assert small == two[0]
    assert small in two
    assert small != replace(small, stability_score=0.5)
    assert small != mobilesam.Mask(small.rle(), 0.9)


@pytest.mark.parametrize("seed", range(10))
def test_sams_box_ends_at_the_last_pixel_and_cocos_after_it(seed: int) -> None:
    array = np.random.default_rng(seed).random((20, 30)) > 0.98
    mask = found(array)
    x, y, width, height = coco_mask.toBbox(to_rle(array)).astype(int).tolist()
    assert mask.to_sa1b()["bbox"] == [x, y, width - 1, height - 1]
    assert mask.to_coco()["bbox"] == [x, y, width, height]
    assert found(np.zeros((4, 5), bool)).to_sa1b()["bbox"] == [0, 0, 0, 0]


def test_decoded_masks_are_not_kept(two: list[FoundMask]) -> None:
    label_image(two, (40, 60))
    assert not [value for mask in two for value in vars(mask).values() if isinstance(value, np.ndarray)]
