from __future__ import annotations

import json

import numpy as np
import pytest

from mobilesam import to_labelme
from mobilesam.errors import SettingsError
from mobilesam.predict.results import Mask
from tests.helpers.blobs import ARRAYS
from tests.helpers.readers import pixels_of_labelme


@pytest.mark.parametrize("array", ARRAYS)
def test_labelme_polygons_give_the_mask_back_with_its_holes(array: np.ndarray) -> None:
    record = Mask(array, 0.5).to_labelme("photo.jpg", label="cup")
    np.testing.assert_array_equal(pixels_of_labelme(record), array)
    assert {shape["label"] for shape in record["shapes"]} <= {"cup"}
    assert (record["imagePath"], record["imageData"]) == ("photo.jpg", None)


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
