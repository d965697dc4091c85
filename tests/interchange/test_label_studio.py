"""Tasks with predictions for Label Studio, read back by what its documentation says of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mobilesam import PhotoMasks, to_label_studio
from mobilesam.errors import SettingsError
from mobilesam.predict.results import Mask
from tests.helpers.blobs import blobs, specks
from tests.helpers.readers import decode_brush

SOME = [Mask(blobs(0), 0.75), Mask(blobs(1), 0.25)]


def results(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return tasks[0]["predictions"][0]["result"]


def test_brushes_restore_the_masks_and_name_the_configuration() -> None:
    photo = PhotoMasks("my photo.jpg", SOME, labels=["Cat", "Dog"])
    tasks = json.loads(json.dumps(to_label_studio([photo], address="/data/local-files/?d=photos/")))
    assert tasks[0]["data"] == {"image": "/data/local-files/?d=photos/my%20photo.jpg"}
    prediction = tasks[0]["predictions"][0]
    assert (prediction["model_version"], prediction["score"]) == ("mobilesam", 0.5)
    for mask, label, found in zip(SOME, ["Cat", "Dog"], results(tasks), strict=True):
        assert (found["type"], found["from_name"], found["to_name"]) == ("brushlabels", "brush", "image")
        assert (found["original_height"], found["original_width"]) == mask.original_hw
        assert (found["value"]["format"], found["value"]["brushlabels"]) == ("rle", [label])
        pixels = decode_brush(found["value"]["rle"]).reshape(*mask.original_hw, 4)
        np.testing.assert_array_equal(pixels[..., 3] == 255, mask.array)


def test_polygons_are_in_percent_and_every_region_has_a_name_of_its_own() -> None:
    array = np.zeros((50, 200), bool)
    array[10:20, 20:40] = array[30:40, 100:200] = True
    tasks = to_label_studio([PhotoMasks("a.png", [Mask(array, 0.5)])], shape="polygon", from_name="outline")
    boxes = [np.array(found["value"]["points"]) for found in results(tasks)]
    assert sorted([*box.min(axis=0), *box.max(axis=0)] for box in boxes) == [[10, 20, 20, 40], [50, 60, 100, 80]]
    assert {found["type"] for found in results(tasks)} == {"polygonlabels"}
    assert {found["from_name"] for found in results(tasks)} == {"outline"}
    assert len({found["id"] for found in results(tasks)}) == 2


def test_equal_masks_make_equal_files_and_photos_without_masks_are_tasks() -> None:
    photos = [PhotoMasks("a.png", [Mask(specks(0), 0.5)]), PhotoMasks("b.png", [], (3, 4))]
    assert to_label_studio(photos) == to_label_studio(photos)
    empty = to_label_studio(photos)[1]["predictions"][0]
    assert (empty["result"], empty["score"]) == ([], 0.0)
    with pytest.raises(SettingsError, match="original_hw"):
        to_label_studio([PhotoMasks("b.png", [])])
