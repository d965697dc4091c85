"""Shapes of annotated objects: run lengths, polygons, and pixels of a label picture.

A shape holds what the annotation says; `mask` and `rle` make pixels or run lengths of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mobilesam.data.files import FileRef
from mobilesam.encoded import opened
from mobilesam.errors import DataError, ImageError, first_line
from mobilesam.masks import Rle, from_rle, to_rle

# H W photo

MIN_POLYGON = 6  # numbers: three (x, y) pairs


@dataclass(frozen=True)
class RleShape:
    """COCO's compressed run lengths."""

    run_lengths: Rle
    area: int | None = None
    """Pixels, as the annotation states them."""

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)"""
        return from_rle(self.run_lengths)

    def rle(self, hw: tuple[int, int]) -> Rle:
        """Run lengths."""
        return self.run_lengths


@dataclass(frozen=True)
class PolygonShape:
    """COCO's or YOLO's polygons, filled as pycocotools fills them."""

    polygons: tuple[tuple[float, ...], ...]
    """Each (x0, y0, x1, y1, ...) in pixels, or in 0-1 when `is_normalised`."""
    is_normalised: bool = False

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)"""
        return from_rle(self.rle(hw))

    def rle(self, hw: tuple[int, int]) -> Rle:
        """Run lengths of a photo of that size."""
        scale = np.array([hw[1], hw[0]] if self.is_normalised else [1, 1], dtype=float)
        rows = [(np.array(p).reshape(-1, 2) * scale).ravel().tolist() for p in self.polygons]
        return _as_text(coco_mask.merge(coco_mask.frPyObjects(rows, *hw)))


@dataclass(frozen=True)
class PixelShape:
    """One value, or every value but 0 and `ignore`, of a label picture."""

    file: FileRef
    value: int | None = None
    """None: everything that is neither 0 nor `ignore`."""
    ignore: int | None = None

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)"""
        pixels = label_pixels(self.file)
        if self.value is not None:
            return pixels == self.value
        return (pixels != 0) & (pixels != self.ignore)

    def rle(self, hw: tuple[int, int]) -> Rle:
        """Run lengths."""
        return to_rle(self.mask(hw))

    def ignored(self) -> NDArray[np.bool_] | None:
        """(H, W) pixels that count neither way."""
        return None if self.ignore is None else label_pixels(self.file) == self.ignore


Shape = RleShape | PolygonShape | PixelShape


def to_shape(segmentation: Any, area: int | None = None) -> RleShape | PolygonShape:
    """COCO's three forms of a segmentation (polygons, run lengths, compressed run lengths) as a shape.

    Raises:
        ValueError, TypeError, KeyError: it is none of the three.
    """
    if isinstance(segmentation, list):
        return PolygonShape(check_polygons(segmentation))
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    if not isinstance(counts, str):
        counts = _as_text(coco_mask.frPyObjects(segmentation, height, width))["counts"]
    return RleShape({"size": [height, width], "counts": counts}, area)


def check_polygons(polygons: list[Any]) -> tuple[tuple[float, ...], ...]:
    """Polygons as tuples.

    Raises:
        ValueError: one has fewer than three points, or there is none.
    """
    rows = tuple(tuple(float(v) for v in polygon) for polygon in polygons)
    if not rows or any(len(row) < MIN_POLYGON or len(row) % 2 for row in rows):
        raise ValueError("a polygon needs at least three (x, y) pairs")
    return rows


def label_pixels(file: FileRef) -> NDArray[np.uint8] | NDArray[np.int32]:
    """A label picture as (H, W): palette indices, grey values of 8 or 16 bits, or the largest channel of a colour.

    Raises:
        DataError: it is missing or damaged.
    """
    with _label_picture(file) as image:
        if image.mode.startswith("I"):
            return np.asarray(image).astype(np.int32)
        pixels = np.asarray(image if image.mode in ("P", "L") else image.convert("RGB"))
        return pixels if pixels.ndim == 2 else pixels.max(axis=2)


def label_size(file: FileRef) -> tuple[int, int]:
    """(height, width) of a label picture, from its header.

    Raises:
        DataError: it is missing or damaged.
    """
    with _label_picture(file) as image:
        return image.height, image.width


@contextmanager
def _label_picture(file: FileRef) -> Iterator[Image.Image]:
    try:
        with opened(file.path if file.member is None else file.read(), "the picture") as image:
            yield image
    except (OSError, ImageError) as error:
        raise DataError(f"{file.path}: the mask cannot be read ({first_line(error)})") from error


def check_size(mask: NDArray[np.bool_], hw: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """The mask, if it has the photo's size.

    Raises:
        DataError: it has not.
    """
    if mask.shape != hw:
        raise DataError(f"{name}: the mask is {mask.shape[1]}x{mask.shape[0]}, the photo {hw[1]}x{hw[0]}")
    return mask


def _as_text(rle: Any) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
