"""Files for CVAT, read back by a small parser of its documented format that was written for this test."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mobilesam import PhotoMasks, masks, to_cvat, to_svg
from mobilesam.errors import SettingsError
from mobilesam.masks import run_lengths
from mobilesam.predict.results import Mask
from tests.test_interchange import ARRAYS


def read(text: str) -> list[dict[str, Any]]:
    """The photos of a file, each with its masks (H, W) by group, or in their order, and their labels."""
    root = ElementTree.fromstring(text)
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    known = {label.findtext("name") for label in root.iterfind("meta/task/labels/label")}
    photos = []
    for image in root.iterfind("image"):
        hw = (int(image.attrib["height"]), int(image.attrib["width"]))
        found: dict[str, np.ndarray] = {}
        labels: dict[str, str] = {}
        for i, shape in enumerate(image):
            assert shape.attrib["label"] in known
            assert shape.attrib["occluded"] == "0"
            key = shape.attrib.get("group_id", f"mask {i}")
            filled = of_rle(shape.attrib, hw) if shape.tag == "mask" else of_polygon(shape.attrib, hw)
            found[key] = found.get(key, np.zeros(hw, bool)) | filled
            labels[key] = shape.attrib["label"]
        photos.append({"name": image.attrib["name"], "id": image.attrib["id"], "hw": hw, "masks": [*found.values()]})
        photos[-1]["labels"] = [*labels.values()]
    assert int(root.findtext("meta/task/size") or -1) == len(photos)
    return photos


def of_rle(shape: dict[str, str], hw: tuple[int, int]) -> np.ndarray:
    left, top, width, height = (int(shape[name]) for name in ("left", "top", "width", "height"))
    flat: list[bool] = []
    for i, run in enumerate(shape["rle"].split(",")):
        flat += [i % 2 == 1] * int(run)
    whole = np.zeros(hw, bool)
    whole[top : top + height, left : left + width] = np.array(flat).reshape(height, width)
    return whole


def of_polygon(shape: dict[str, str], hw: tuple[int, int]) -> np.ndarray:
    points = [float(number) for corner in shape["points"].split(";") for number in corner.split(",")]
    return coco_mask.decode(coco_mask.frPyObjects([points], *hw))[..., 0].astype(bool)


@pytest.mark.parametrize("shape", ["mask", "polygon"])
@pytest.mark.parametrize("array", ARRAYS)
def test_a_file_gives_the_mask_back_with_its_holes(array: np.ndarray, shape: Any) -> None:
    mask = Mask(masks.to_rle(array), 0.5)
    (photo,) = read(to_cvat([PhotoMasks("a.png", [mask], labels="cup")], shape=shape))
    assert (photo["name"], photo["hw"]) == ("a.png", array.shape)
    if not array.any():  # an empty mask has no shape
        assert photo["masks"] == []
        return
    np.testing.assert_array_equal(photo["masks"][0], array)
    assert photo["labels"] == ["cup"]


def test_photos_keep_their_order_names_and_labels() -> None:
    one, two = (Mask(array, 0.5) for array in ARRAYS[:2])
    name = 'a & "b" <c>.png'
    photos = [PhotoMasks(name, [one, two], labels=["cat", "<dog>"]), PhotoMasks("none.png", [], (4, 6))]
    found = read(to_cvat(iter(photos)))
    assert [(photo["name"], photo["id"]) for photo in found] == [(name, "0"), ("none.png", "1")]
    assert found[0]["labels"] == ["cat", "<dog>"]
    assert (found[1]["hw"], found[1]["masks"]) == ((4, 6), [])
    with pytest.raises(SettingsError, match="original_hw"):
        to_cvat([PhotoMasks("none.png", [])])
    with pytest.raises(SettingsError, match="each of the 2 masks"):
        to_cvat([PhotoMasks("a.png", [one, two], labels=["cat"])])


@pytest.mark.parametrize(
    ("rows", "runs"),
    [([[0, 1, 1]], [1, 2]), ([[1, 1, 0]], [0, 2, 1]), ([[0, 1], [1, 0]], [1, 2, 1]), ([[1, 1]], [0, 2])],
)
def test_runs_begin_with_background_and_go_row_by_row(rows: list[list[int]], runs: list[int]) -> None:
    assert run_lengths(np.array(rows, bool)) == runs


@pytest.mark.parametrize("label", ["a\x02b", "a\ufffeb", "a\udcc3b", "a\x00b\uffff\x1f"])
def test_characters_that_xml_forbids_are_written_visibly(label: str) -> None:
    mask = Mask(ARRAYS[0], 0.5)
    for shape in ("mask", "polygon"):
        (photo,) = read(to_cvat([PhotoMasks(f"{label}.png", [mask], labels=label)], shape=shape))
        written = label.encode("unicode_escape").decode()
        assert (photo["name"], set(photo["labels"])) == (f"{written}.png", {written})
    svg = ElementTree.fromstring(to_svg([mask], image_path=f"{label}.png"))
    assert svg[0].attrib["href"] == f"{label}.png".encode("unicode_escape").decode()


def test_characters_that_xml_allows_stay_as_they_are() -> None:
    label = "a\tb\nc\rd ü \U0001f41f"
    (photo,) = read(to_cvat([PhotoMasks("a.png", [Mask(ARRAYS[0], 0.5)], labels=label)]))
    assert photo["labels"] == [label]
