from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mobilesam import masks
from mobilesam.errors import DataError
from mobilesam.rle import MAX_RUNS, check_rle
from tests.helpers.children import in_child
from tests.helpers.run_lengths import as_text, wrapping


def random_masks(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random(rng.integers(1, 60, 2)) < rng.random() ** 3 for _ in range(count)]


def test_run_lengths_in_every_spelling_are_the_mask_that_pycocotools_decodes() -> None:
    for mask in random_masks(200):
        rle = masks.to_rle(mask)
        plain = masks.to_uncompressed_rle(mask)
        as_bytes = {"size": rle["size"], "counts": rle["counts"].encode()}
        assert check_rle(plain) == check_rle(as_bytes) == check_rle(rle) == rle
        for spelling in (rle, plain, as_bytes, {"size": [float(s) for s in mask.shape], "counts": rle["counts"]}):
            np.testing.assert_array_equal(masks.from_rle(spelling, mask.shape), mask)
        np.testing.assert_array_equal(coco_mask.decode(rle).astype(bool), mask)


def test_large_differences_between_runs_are_read_with_their_sign() -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[10:2990, 5:3990] = True
    mask[5, 7] = mask[2999, 3999] = True
    np.testing.assert_array_equal(masks.from_rle(masks.to_rle(mask)), mask)


@pytest.mark.parametrize(
    ("rle", "why"),
    [
        ({"size": [28, 40], "counts": ""}, "add up to 0 pixels"),
        ({"size": [28, 40], "counts": "5"}, "add up to 5 pixels"),
        ({"size": [28, 40], "counts": [5, 6]}, "add up to 11 pixels"),
        ({"size": [28, 40], "counts": [28 * 40, 1]}, "add up to 1121 pixels"),
        ({"size": [28, 40], "counts": [28 * 40 + 1]}, "a run length is 1121, the whole mask has 1120 pixels"),
        ({"size": [28, 40], "counts": [2**32 - 1] * 3}, "a run length is 4294967295"),
        ({"size": [28, 40], "counts": as_text([2**34 - 1, 5])}, "a run length is 17179869183"),
        ({"size": [28, 40], "counts": [1125, -5]}, "negative"),
        ({"size": [28, 40], "counts": [2**33]}, "whole numbers"),
        ({"size": [28, 40], "counts": [10**30]}, "whole numbers"),
        ({"size": [28, 40], "counts": [float("nan")]}, "whole numbers"),
        ({"size": [28, 40], "counts": [1119.5, 0.5]}, "whole numbers"),
        ({"size": [28, 40], "counts": ["1120"]}, "whole numbers"),
        ({"size": [28, 40], "counts": [[1120], [1, 2]]}, "some are lists"),
        ({"size": [28, 40], "counts": None}, "a text or a list"),
        ({"size": [28, 40], "counts": "zzzzz~~~~"}, "not COCO's"),
        ({"size": [28, 40], "counts": "é"}, "not COCO's"),
        ({"size": [28, 40], "counts": "5\0"}, "not COCO's"),
        ({"size": [28, 40], "counts": "P"}, "cut off"),
        ({"size": [28, 40], "counts": "P" * 20 + "1"}, "too many digits"),
        ({"size": [10**6, 10**6], "counts": "11"}, "more than"),
        ({"size": [0, 40], "counts": ""}, "at least 1"),
        ({"size": [-28, -40], "counts": ""}, "at least 1"),
        ({"size": [28.5, 40], "counts": ""}, r"\[height, width\]"),
        ({"size": [True, 40], "counts": ""}, r"\[height, width\]"),
        ({"size": 28, "counts": ""}, r"\[height, width\]"),
        ({"size": [28], "counts": ""}, r"\[height, width\]"),
        ({"counts": ""}, "size and counts"),
        (None, "size and counts"),
        ("text", "size and counts"),
    ],
)
def test_run_lengths_that_are_no_mask_are_a_data_error_that_says_why(rle: Any, why: str) -> None:
    # In a child process, all of them: they are what ends one where it is not checked.
    quoted = repr(rle).replace("nan", "float('nan')")
    found, *_ = in_child(f"""
from mobilesam import masks
try:
    print("accepted", int(masks.from_rle({quoted}).sum()))
except MobileSamError as error:
    print(type(error).__name__, error)
""")
    assert found.startswith("DataError"), found
    with pytest.raises(DataError, match=why):
        masks.from_rle(rle)


def test_runs_whose_sum_wraps_to_the_size_do_not_end_the_process() -> None:
    found, *_ = in_child("""
from mobilesam import masks
from mobilesam.rle import check_rle
from tests.helpers.run_lengths import wrapping
for read in (masks.from_rle, check_rle):
    try:
        read(wrapping((240, 320)), (240, 320))
    except MobileSamError as error:
        print(type(error).__name__, error)
""")
    assert found.startswith("DataError a run length is"), found
    with pytest.raises(DataError, match="a run length is"):
        check_rle(wrapping((240, 320)))


def test_no_size_is_larger_than_native_code_counts_even_where_a_file_states_it_twice() -> None:
    side = 2**17
    rle = {"size": [side, side], "counts": as_text([2**33, 2**33])}
    with pytest.raises(DataError, match="more than 2147483648 pixels"):
        check_rle(rle, (side, side))


def test_a_mask_may_be_as_large_as_the_photo_that_was_opened() -> None:
    hw = (20_000, 15_000)
    rle = {"size": list(hw), "counts": as_text([10, 300, hw[0] * hw[1] - 310])}
    assert check_rle(rle, hw)["size"] == list(hw)
    with pytest.raises(DataError, match="more than 268435456 pixels"):
        check_rle(rle)


def test_a_mask_of_another_size_than_the_photos_is_named() -> None:
    rle = masks.to_rle(np.ones((100, 100), bool))
    with pytest.raises(DataError, match="the mask is 100x100, the photo 320x240"):
        masks.from_rle(rle, (240, 320))


def test_run_lengths_of_a_small_mask_cannot_be_of_any_length() -> None:
    with pytest.raises(DataError, match="longer than"):
        masks.from_rle({"size": [1, 1], "counts": "0" * (MAX_RUNS + 1)})
    with pytest.raises(DataError, match="are more than"):
        masks.from_rle({"size": [1, 1], "counts": [0] * (MAX_RUNS + 1)})
