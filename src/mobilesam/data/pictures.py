"""Label pictures of one photo: each is decoded once, and its objects are kept as run lengths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mobilesam.data.shapes import Labels, PixelShape, Shape
from mobilesam.errors import DataError
from mobilesam.masks import Rle, to_rle
from mobilesam.rle import MAX_RUNS

# H W photo, R runs of one value

NOTHING = np.zeros(0, np.int64)


class Pictures:
    """The label pictures that objects of one photo share, with the run lengths of every value in them."""

    def __init__(self) -> None:
        self._by_value: dict[PixelShape, dict[int, Rle]] = {}
        self._alone: dict[PixelShape, tuple[Rle, Rle | None]] = {}

    def rle(self, shape: Shape, hw: tuple[int, int]) -> Rle:
        """Run lengths of one object on a photo of size `hw`; errors as in the shape's `rle`."""
        if not isinstance(shape, PixelShape):
            return shape.rle(hw)
        if shape.value is None:
            return self._one_object(shape)[0]
        values = self._values(shape)
        if shape.value in values:
            return values[shape.value]
        height, width = next(iter(values.values()))["size"]
        return _encode(NOTHING, NOTHING, (height, width))

    def ignored(self, shape: Shape) -> Rle | None:
        """Run lengths of the pixels that evaluation does not count; None where there are none."""
        if not isinstance(shape, PixelShape) or shape.ignore is None:
            return None
        return self._one_object(shape)[1] if shape.value is None else self._values(shape).get(shape.ignore)

    def _one_object(self, shape: PixelShape) -> tuple[Rle, Rle | None]:
        if shape not in self._alone:
            pixels = shape.pixels()
            ignored = None if shape.ignore is None else to_rle(pixels == shape.ignore)
            self._alone[shape] = to_rle(shape.select(pixels)), ignored
        return self._alone[shape]

    def _values(self, shape: PixelShape) -> dict[int, Rle]:
        picture = replace(shape, value=0, ignore=None)  # one key per picture
        if picture not in self._by_value:
            try:
                self._by_value[picture] = runs_by_value(shape.pixels())
            except DataError as error:
                raise DataError(f"{shape.file.path}: {error}") from error
        return self._by_value[picture]


def runs_by_value(labels: Labels) -> dict[int, Rle]:
    """Run lengths of the pixels of each value of a label picture (H, W), found in one pass over the picture.

    Raises:
        DataError: it is noise, of more than `MAX_RUNS` runs.
    """
    height, width = labels.shape
    flat = labels.T.ravel()  # (W * H,) column by column
    is_edge = flat[1:] != flat[:-1]
    if (count := int(np.count_nonzero(is_edge)) + 1) > MAX_RUNS:
        raise DataError(f"a label picture of {count} runs is noise; at most {MAX_RUNS} are read")
    starts = np.concatenate([[0], np.flatnonzero(is_edge) + 1])  # (all runs,)
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    firsts = np.flatnonzero(np.diff(values[order])) + 1  # where the next value begins
    groups = np.split(order, firsts)  # (R,) each
    return {int(values[group[0]]): _encode(starts[group], ends[group], (height, width)) for group in groups}


def _encode(starts: NDArray[np.int64], ends: NDArray[np.int64], hw: tuple[int, int]) -> Rle:
    """Run lengths of a mask from where each run of its object begins and ends, (R,) each."""
    edges = np.stack([starts, ends], axis=1).ravel()  # (2 R,)
    counts = np.diff(edges, prepend=0)
    if (rest := hw[0] * hw[1] - int(counts.sum())) > 0:
        counts = np.append(counts, rest)
    rle = coco_mask.frPyObjects({"size": list(hw), "counts": counts.tolist()}, *hw)
    return {"size": list(hw), "counts": rle["counts"].decode("ascii")}
