from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mobilesam.data.polygons import MAX_OUTLINE, check_polygons, clip, fill
from mobilesam.data.shapes import PolygonShape, RleShape, to_shape
from mobilesam.errors import DataError
from mobilesam.masks import from_rle
from tests.helpers.children import in_child

HW = (60, 80)


def pycocos(polygons: list[np.ndarray]) -> np.ndarray:
    rows = [polygon.ravel().tolist() for polygon in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rows, *HW))).astype(bool)


def as_rows(polygons: list[np.ndarray]) -> list[tuple[float, ...]]:
    return [tuple(polygon.ravel().tolist()) for polygon in polygons]


def test_polygons_in_and_around_the_photo_are_filled_exactly_as_pycocotools_does() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        polygons = [rng.uniform(-80, 160, (rng.integers(3, 12), 2)) for _ in range(rng.integers(1, 4))]
        np.testing.assert_array_equal(from_rle(fill(as_rows(polygons), HW)), pycocos(polygons))


def test_many_pieces_of_one_object_are_all_there() -> None:
    rng = np.random.default_rng(0)
    polygons = [rng.uniform(0, 70, 2) + rng.uniform(0, 6, (3, 2)) for _ in range(300)]
    np.testing.assert_array_equal(from_rle(fill(as_rows(polygons), HW)), pycocos(polygons))


def test_a_polygon_that_reaches_far_out_keeps_its_shape_in_the_photo() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        far = rng.uniform(-2000, 2000, (rng.integers(3, 8), 2))
        cut = clip(far, HW)
        assert cut.size == 0 or (cut.min() >= -80 and cut.max() <= 160)
        found, expected = from_rle(fill(as_rows([far]), HW)), pycocos([far])
        # Edges are drawn in steps of a fifth of a pixel, between other ends.
        assert (found ^ expected).sum() <= 0.02 * HW[0] * HW[1]


def test_a_triangle_to_the_end_of_the_world_covers_what_it_covers() -> None:
    wrong, outside, *_ = in_child("""
from mobilesam.data.polygons import fill
from mobilesam.masks import from_rle
mask = from_rle(fill([(0, 0, 1e300, 0, 1e300, 1e300)], (60, 80)))
rows, columns = np.mgrid[:60, :80]
print((mask ^ (columns >= rows)).sum())
print(from_rle(fill([(1e9, 1e9, 2e9, 1e9, 2e9, 2e9)], (60, 80))).sum())
""")
    assert int(wrong) <= 160
    assert int(outside) == 0


ABSURD = {
    "1e9": "to_shape([[0, 0, 1e9, 0, 1e9, 1e9]])",
    "1e7": "to_shape([[0, 0, 1e7, 0, 1e7, 1e7]])",
    "the fuzzers' polygon": "to_shape([[1, 1, 20, 1, 1000000000.0, 20]])",
    "infinite": "PolygonShape(((0, 0, float('inf'), 0, 1, 1),))",
    "infinite in a YOLO label": "PolygonShape(((0, 0, float('inf'), 0, 1, 1),), is_normalised=True)",
    "no number": "PolygonShape(((float('nan'), 50, 150, 50, 150, 150),))",
    "a zigzag": "to_shape([[v for i in range(200000) for v in (-80 if i % 2 else 160, i / 1000)]])",
    "many long pieces": "to_shape([[-80, 0, 160, 30, -80, 60]] * 20000)",
    "run lengths of a million squared": "RleShape({'size': [10**6, 10**6], 'counts': '11'})",
    "run lengths that end early": "RleShape({'size': [60, 80], 'counts': ''})",
}


@pytest.mark.parametrize("name", ABSURD)
def test_no_number_ends_the_process_or_takes_its_memory(name: str) -> None:
    lines = in_child(f"""
from mobilesam.data.shapes import PolygonShape, RleShape, to_shape
try:
    shape = {ABSURD[name]}
    print("accepted", int(shape.mask((60, 80)).sum()), shape.rle((60, 80))["size"])
except MobileSamError as error:
    print(type(error).__name__, error)
""")
    expected = "accepted" if name in ("1e9", "1e7", "the fuzzers' polygon") else "DataError"
    assert lines[0].startswith(expected), lines
    if lines[-1].startswith("peak"):
        assert int(lines[-1].split()[1]) < 1000


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        ([[float("nan"), 50, 150, 50, 150, 150]], "not a finite number"),
        ([[None, 1, 2, 3, 4, 5]], "not a number"),
        ([["1", "2", "3", "4", "5", "6"]], "not a number"),
        ([[10**400, 1, 2, 3, 4, 5]], "not a number"),
        ([[[1, 2], [3, 4], [5, 6]]], "not a number"),
        ([[[1, 2], [3], 4]], "not of lists"),
        ([[1, 2, 3, 4]], "three"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three"),
        ([[50, 100, 100, 50, 150, 100], [10, 10, 12, 12]], "three"),
        ([50, 100, 100, 50, 150, 100], "a list of numbers x0, y0"),
        ([], "no segmentation"),
        (None, "no segmentation"),
        ("text", "size and counts"),
        (3, "size and counts"),
        ({"size": [60, 80]}, "size and counts"),
    ],
)
def test_a_segmentation_that_is_none_says_why(segmentation: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        to_shape(segmentation)


def test_a_mask_of_another_size_is_named_before_it_is_decoded() -> None:
    shape = to_shape({"size": [100, 100], "counts": [10000]})
    assert isinstance(shape, RleShape)
    for read in (shape.mask, shape.rle):
        with pytest.raises(DataError, match="the mask is 100x100, the photo 80x60"):
            read(HW)


def test_an_outline_may_be_long_but_not_endless() -> None:
    rows = check_polygons([[v for i in range(MAX_OUTLINE // 240 + 9) for v in (-80 if i % 2 else 160, 3)]])
    with pytest.raises(DataError, match="the outline is"):
        PolygonShape(rows).rle(HW)
