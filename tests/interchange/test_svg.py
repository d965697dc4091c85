from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from mobilesam import masks, to_svg
from mobilesam.predict.results import Mask
from tests.helpers.blobs import ARRAYS
from tests.helpers.readers import pixels_of_path


@pytest.mark.parametrize("array", ARRAYS)
def test_a_path_gives_the_mask_back_with_its_holes(array: np.ndarray) -> None:
    path = Mask(masks.to_rle(array), 0.5).to_svg_path()
    np.testing.assert_array_equal(pixels_of_path(path, array.shape), array)


def test_a_path_is_short_where_the_outline_is_straight() -> None:
    array = np.zeros((50, 60), bool)
    array[10:30, 20:50] = True
    array[15:20, 25:30] = False
    assert Mask(array, 0.5).to_svg_path() == "M20 10H50V30H20ZM30 15H25V20H30Z"


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
