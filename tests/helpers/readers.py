"""Independent readers of the files that masks are written to: they give pixels back."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
from pycocotools import mask as coco_mask


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


def read_cvat(text: str) -> list[dict[str, Any]]:
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


def decode_brush(numbers: list[int]) -> np.ndarray:
    """All bytes of a packed picture: the description of the format, bit by bit, with every kind of run."""
    bits = np.unpackbits(np.array(numbers, np.uint8))
    place = 0

    def read(count: int) -> int:
        nonlocal place
        value = 0
        for bit in bits[place : place + count]:
            value = 2 * value + int(bit)
        place += count
        return value

    total, width = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_repeated = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(width)] * length if is_repeated else [read(width) for _ in range(length)]
    assert len(values) == total
    assert len(bits) - place < 8
    return np.array(values, np.uint8)
