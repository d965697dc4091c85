"""Mask arrays: up-scaling of logits to the photo, and conversion to run lengths and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mobilesam.contract import MASK_THRESHOLD
from mobilesam.equality import same_fields
from mobilesam.errors import DataError
from mobilesam.rle import Rle as Rle
from mobilesam.rle import decode_rle

# H W photo, L = 4g side of the logits


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected piece of a mask: its outline and the outlines of its holes.

    Vertices are (K, 2) int32 (x, y) centres of the piece's own border pixels, for the holes too.
    """

    outer: NDArray[np.int32]
    """The outline, (K, 2)."""
    holes: tuple[NDArray[np.int32], ...] = ()
    """The outline of each hole, (K, 2)."""

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Polygon) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def upscale(
    low_res: NDArray[np.float32], image_size: int, input_hw: tuple[int, int], original_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Resize logits of the padded square to the photo, in the three steps of segment-anything.

    Args:
        low_res: (L, L) over the padded square.
        image_size: its side in input pixels.
        input_hw: the part of it that the resized photo covers.
        original_hw: the photo.

    Returns:
        (H, W); threshold at `contract.MASK_THRESHOLD` after this, never before: that is what makes edges jagged.
    """
    factor = image_size // len(low_res)
    # Only the part that the photo covers, and one more row and column, which interpolating the last pixels needs.
    rows, columns = (min(len(low_res), -(-side // factor) + 1) for side in input_hw)
    size = (columns * factor, rows * factor)
    part = cv2.resize(low_res[:rows, :columns], size, interpolation=cv2.INTER_LINEAR)
    part = part[: input_hw[0], : input_hw[1]]
    return np.asarray(cv2.resize(part, (original_hw[1], original_hw[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def threshold(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Threshold logits to a Boolean mask."""
    return logits > MASK_THRESHOLD


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_], *, both_empty: float = 1.0) -> float:
    """Intersection over union (IoU) of two masks (H, W).

    Args:
        a, b: the masks.
        both_empty: the answer where neither has a pixel: by default they are the same mask.
    """
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else both_empty


def to_rle(mask: NDArray[np.bool_]) -> Rle:
    """Encode a mask (H, W) as COCO's compressed run lengths, which JSON can hold.

    Raises:
        DataError: it has another shape, no pixels, or is not Boolean or of whole numbers.
    """
    mask = np.asarray(mask)
    if mask.ndim == 2 and not mask.size:
        raise DataError(f"a mask has pixels; found {mask.shape[0]} rows and {mask.shape[1]} columns")
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        raise DataError(f"a mask is Boolean, (H, W); found {mask.dtype} {mask.shape} (a Boolean one: logits > 0)")
    turned = cv2.transpose(
        np.ascontiguousarray(mask != 0 if mask.dtype != bool else mask).view(np.uint8)
    )  # ten times faster than numpy's copy
    encoded = coco_mask.encode(turned.T)
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def to_uncompressed_rle(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Encode a mask (H, W) as COCO's run lengths in numbers: column by column, starting with background."""
    return {"size": list(mask.shape), "counts": run_lengths(mask.T)}


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of a mask (H, W), row by row; the first is background, 0 long where the object begins."""
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff(edges, prepend=0, append=flat.size).tolist()
    return [0, *runs] if flat[0] else runs


def from_rle(rle: Rle | dict[str, Any], hw: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Decode run lengths, compressed or not, to a mask (H, W); damaged ones raise an error.

    Args:
        rle: {"size": [height, width], "counts": text, bytes or a list of numbers}.
        hw: the photo, whose size the mask must have; where None, any size of at most `rle.MAX_PIXELS` pixels.

    Returns:
        (H, W)

    Raises:
        DataError: the runs do not add up to the size, the size is not the photo's, or it is something else.
    """
    return decode_rle(rle, hw)


def size(rle: Rle) -> tuple[int, int]:
    """Size (height, width) of a mask in run lengths."""
    height, width = rle["size"]
    return height, width


def area(rle: Rle) -> int:
    """Count the pixels of a mask in run lengths."""
    return int(coco_mask.area(rle))


def to_polygons(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Convert a mask (H, W) to polygons of its connected pieces, with holes; `from_polygons` restores it exactly."""
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return []
    points = [np.asarray(c, dtype=np.int32).reshape(-1, 2) for c in contours]
    parents = hierarchy.reshape(-1, 4)[:, 3]
    return [
        Polygon(outline, tuple(points[j] for j in np.flatnonzero(parents == i)))
        for i, outline in enumerate(points)
        if parents[i] < 0
    ]


def from_polygons(polygons: Sequence[Polygon], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill polygons to a mask: the inverse of `to_polygons`."""
    canvas = np.zeros(hw, np.uint8)
    for polygon in polygons:
        piece = np.zeros(hw, np.uint8)
        cv2.fillPoly(piece, [polygon.outer], 1)
        for hole in polygon.holes:
            cv2.fillPoly(piece, [hole], 0)
            cv2.polylines(piece, [hole], True, 1)  # a hole's outline belongs to the object
        canvas |= piece
    return canvas.astype(bool)


def deepest_pixel(region: NDArray[np.bool_]) -> tuple[tuple[int, int], float]:
    """The pixel (x, y) farthest from the region's border, and its distance; the photo's border counts as border."""
    distance = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 0)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return (int(x), int(y)), float(distance[y, x])
