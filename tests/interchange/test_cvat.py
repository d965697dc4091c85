"""Files for CVAT, read back by a small parser of its documented format that was written for this test."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from mobilesam import PhotoMasks, masks, to_cvat, to_svg
from mobilesam.errors import SettingsError
from mobilesam.masks import run_lengths
from mobilesam.predict.results import Mask
from tests.helpers.blobs import ARRAYS
from tests.helpers.readers import read_cvat


@pytest.mark.parametrize("shape", ["mask", "polygon"])
@pytest.mark.parametrize("array", ARRAYS)
def test_a_file_gives_the_mask_back_with_its_holes(array: np.ndarray, shape: Any) -> None:
    mask = Mask(masks.to_rle(array), 0.5)
    (photo,) = read_cvat(to_cvat([PhotoMasks("a.png", [mask], labels="cup")], shape=shape))
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
    found = read_cvat(to_cvat(iter(photos)))
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
        (photo,) = read_cvat(to_cvat([PhotoMasks(f"{label}.png", [mask], labels=label)], shape=shape))
        written = label.encode("unicode_escape").decode()
        assert (photo["name"], set(photo["labels"])) == (f"{written}.png", {written})
    svg = ElementTree.fromstring(to_svg([mask], image_path=f"{label}.png"))
    assert svg[0].attrib["href"] == f"{label}.png".encode("unicode_escape").decode()


def test_characters_that_xml_allows_stay_as_they_are() -> None:
    label = "a\tb\nc\rd ü \U0001f41f"
    (photo,) = read_cvat(to_cvat([PhotoMasks("a.png", [Mask(ARRAYS[0], 0.5)], labels=label)]))
    assert photo["labels"] == [label]
