"""Data sets: masks, records, tars, and the boxes of detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilesam.masks import from_rle
from mobilesam.predict.prompts import make_prompt
from tests.fuzz import seeds
from tests.fuzz.seeds import HW
from tests.fuzz.targets.common import SilentError, fresh, refusal, write


def mask(data: bytes, folder: Path) -> None:
    """Read a segmentation of COCO and fill it."""
    from mobilesam.data.shapes import to_shape
    from mobilesam.text import parse_json

    shape = to_shape(parse_json(data))
    found = shape.mask(HW)
    assert found.shape == HW
    if not np.array_equal(found, from_rle(shape.rle(HW))):
        raise SilentError("the mask differs from its run lengths")


def data_set(path: Path) -> None:
    """Read a data set as training and evaluation do: each photo, its annotation, and each mask."""
    from mobilesam.data.decoded import read_photo
    from mobilesam.data.layouts import read
    from mobilesam.data.photo import PhotoRef
    from mobilesam.data.survey import survey

    photos = [item for item in read(path) if isinstance(item, PhotoRef)]
    for one in photos:
        if (error := refusal(lambda one=one: read_photo(one))) is None:  # type: ignore[misc]
            hw = one.open().shape[:2]
            for found in one.annotation().objects:
                refusal(lambda found=found, hw=hw: found.mask(hw))  # type: ignore[misc]
    survey([str(path)])
    if photos and error is not None:
        raise error


def coco(data: bytes, folder: Path) -> None:
    """A COCO file, as training, evaluation and the average precision of a detector read it."""
    from mobilesam.evaluate.detections import check_truth

    for name in ("a.jpg", "b.jpg"):
        write(folder / name, seeds.photo())
    path = write(folder / "coco.json", data)
    data_set(path)
    check_truth(path, {}, [])


def detections(data: bytes, folder: Path) -> None:
    """The boxes of a detector."""
    from mobilesam.evaluate.detections import group_boxes

    for boxes in group_boxes(write(folder / "found.json", data))[0].values():
        for x, y, w, h in (box["bbox"] for box in boxes):
            refusal(lambda box=(x, y, x + w, y + h): make_prompt(HW, box=box))  # type: ignore[misc]


def record(data: bytes, folder: Path) -> None:
    """A record of SA-1B or LabelMe beside its photo."""
    inside = fresh(folder / "records")
    write(inside / "a.jpg", seeds.photo())
    write(inside / "a.json", data)
    data_set(inside)


def yolo(data: bytes, folder: Path) -> None:
    """A label file of YOLO-seg."""
    inside = fresh(folder / "yolo")
    write(inside / "images" / "a.jpg", seeds.photo())
    write(inside / "labels" / "a.txt", data)
    data_set(inside)


def tar(data: bytes, folder: Path) -> None:
    """A shard."""
    data_set(write(folder / "shard.tar", data))
