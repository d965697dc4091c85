from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mobilesam import masks, to_coco, to_labelme, to_supervision, to_svg
from mobilesam.errors import MissingExtraError, SettingsError
from mobilesam.predict.results import Mask


def blobs(seed: int) -> np.ndarray:
    """Several pieces with holes, and pieces inside the holes."""
    noise = np.random.default_rng(seed).random((60, 80)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2) > 0.5


def specks(seed: int) -> np.ndarray:
    """Single pixels, pixels that touch at corners, walls one pixel thick."""
    return np.random.default_rng(seed).random((20, 30)) > 0.5


ARRAYS = [
    *(blobs(seed) for seed in range(4)),
    *(specks(seed) for seed in range(4)),
    np.zeros((4, 5), bool),
    np.ones((4, 5), bool),
]


def pixels_of_labelme(record: dict[str, Any]) -> np.ndarray:
    """Filled as pycocotools fills polygons, which is how evaluation and training read LabelMe files."""
    hw = (record["imageHeight"], record["imageWidth"])
    whole = np.zeros(hw, bool)
    for shape in record["shapes"]:
        assert shape["shape_type"] == "polygon"
        assert len(shape["points"]) > 2  # LabelMe refuses others
        points = np.array(shape["points"], float).ravel().tolist()
        whole |= coco_mask.decode(coco_mask.frPyObjects([points], *hw))[..., 0].astype(bool)
    return whole


def pixels_of_path(path: str, hw: tuple[int, int]) -> np.ndarray:
    """By the even-odd rule at the middle of each pixel: edges to its left are counted."""
    crossings = np.zeros((hw[0], hw[1] + 1), int)
    for ring in re.findall(r"M[^Z]*Z", path):
        x0, y0 = (int(number) for number in re.findall(r"\d+", ring)[:2])
        x, y = x0, y0
        for letter, number in [*re.findall(r"([HV])(\d+)", ring), ("V", str(y0))]:
            if letter == "H":
                x = int(number)
                continue
            crossings[min(y, int(number)) : max(y, int(number)), x] += 1
            y = int(number)
        assert x == x0
    return np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1


@pytest.mark.parametrize("array", ARRAYS)
def test_labelme_polygons_give_the_mask_back_with_its_holes(array: np.ndarray) -> None:
    record = Mask(array, 0.5).to_labelme("photo.jpg", label="cup")
    np.testing.assert_array_equal(pixels_of_labelme(record), array)
    assert {shape["label"] for shape in record["shapes"]} <= {"cup"}
    assert (record["imagePath"], record["imageData"]) == ("photo.jpg", None)


@pytest.mark.parametrize("array", ARRAYS)
def test_a_path_gives_the_mask_back_with_its_holes(array: np.ndarray) -> None:
    path = Mask(masks.to_rle(array), 0.5).to_svg_path()
    np.testing.assert_array_equal(pixels_of_path(path, array.shape), array)


def test_a_path_is_short_where_the_outline_is_straight() -> None:
    array = np.zeros((50, 60), bool)
    array[10:30, 20:50] = True
    array[15:20, 25:30] = False
    assert Mask(array, 0.5).to_svg_path() == "M20 10H50V30H20ZM30 15H25V20H30Z"


def test_pieces_of_one_mask_share_a_group_and_masks_have_labels_of_their_own() -> None:
    pieces = np.zeros((20, 30), bool)
    pieces[2:5, 2:5] = pieces[10:15, 10:15] = True
    two = [Mask(pieces, 0.5), Mask(~pieces, 0.4)]
    record = to_labelme(two, "a.png", labels=["dots", "ground"])
    assert [(shape["label"], shape["group_id"]) for shape in record["shapes"]] == [
        ("dots", 1),
        ("dots", 1),
        ("ground", 2),
    ]
    json.dumps(record)
    with pytest.raises(SettingsError, match="each of the 2 masks, has 1"):
        to_labelme(two, "a.png", labels=["dots"])


def test_a_coco_file_has_cocos_boxes_and_is_read_by_pycocotools(tmp_path: Path, capsys) -> None:
    some = [Mask(blobs(seed), 0.1 * seed) for seed in range(3)]
    made = to_coco(some, "a.png", categories=["cat", "dog", "cat"], image_id=7, first_id=5)
    (tmp_path / "a.json").write_text(json.dumps(made))
    coco = COCO(str(tmp_path / "a.json"))
    for i, mask in enumerate(some, 5):
        np.testing.assert_array_equal(coco.annToMask(coco.anns[i]), mask.array)
        assert coco.anns[i]["bbox"] == coco_mask.toBbox(mask.rle()).tolist()
    assert [coco.cats[coco.anns[i]["category_id"]]["name"] for i in (5, 6, 7)] == ["cat", "dog", "cat"]
    assert coco.imgs[7] == {"id": 7, "file_name": "a.png", "height": 60, "width": 80}
    capsys.readouterr()


def test_without_masks_the_size_of_the_photo_must_be_given() -> None:
    for make in (lambda **size: to_coco([], "a.png", **size), lambda **size: to_labelme([], "a.png", **size)):
        with pytest.raises(SettingsError, match="original_hw"):
            make()
        assert make(original_hw=(4, 5))
    assert to_coco([], "a.png", original_hw=(4, 5))["annotations"] == []
    with pytest.raises(SettingsError, match="one size"):
        to_svg([Mask(blobs(0), 0.5)], original_hw=(4, 5))


def test_an_svg_has_a_path_for_each_mask_and_smaller_ones_on_top() -> None:
    small, large = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    small[10:20, 10:20] = large[5:35, 5:45] = True
    text = to_svg([Mask(small, 0.9), Mask(large, 0.5)], image_path='a "b".png')
    image, *paths = ElementTree.fromstring(text)
    assert image.attrib["href"] == 'a "b".png'
    assert [path.attrib["id"] for path in paths] == ["mask2", "mask1"]
    for path, array in zip(paths, (large, small), strict=True):
        assert path.attrib["fill-rule"] == "evenodd"
        np.testing.assert_array_equal(pixels_of_path(path.attrib["d"], (40, 60)), array)


def test_supervision_gets_boxes_masks_and_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Detections:
        def __init__(self, **given: np.ndarray) -> None:
            self.__dict__.update(given)

        @classmethod
        def empty(cls) -> Detections:
            return cls(xyxy=np.zeros((0, 4)))

    module = ModuleType("supervision")
    vars(module)["Detections"] = Detections
    monkeypatch.setitem(sys.modules, "supervision", module)
    some = [Mask(masks.to_rle(blobs(seed)), 0.25 * seed) for seed in range(3)]
    found = to_supervision(some)
    assert (found.xyxy.shape, found.mask.shape, found.mask.dtype) == ((3, 4), (3, 60, 80), np.bool_)
    np.testing.assert_array_equal(found.mask[1], some[1].array)
    assert found.xyxy[2].tolist() == list(some[2].box_xyxy)
    assert found.confidence.tolist() == [0.0, 0.25, 0.5]
    assert len(some[0].to_supervision().xyxy) == 1
    assert len(to_supervision([]).xyxy) == 0


def test_without_supervision_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"to_supervision needs .*: pip install supervision"):
        Mask(blobs(0), 0.5).to_supervision()
