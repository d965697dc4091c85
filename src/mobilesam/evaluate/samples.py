"""What every data set is read into: a photo and the objects annotated on it.

Both hold references, not pixels, so that a sample can travel to another process and be decoded there.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam.errors import DataError
from mobilesam.image import Rgb
from mobilesam.masks import Rle, from_rle
from mobilesam.shards import read_bytes

# H W photo


@dataclass(frozen=True)
class FileRef:
    """A file, or the bytes of one inside a tar."""

    path: str
    member: tuple[int, int] | None = None
    """(offset, size) inside `path`."""

    def read(self) -> bytes:
        """Its bytes."""
        if self.member is not None:
            return read_bytes(self.path, self.member)
        with open(self.path, "rb") as file:
            return file.read()


@dataclass(frozen=True)
class RleShape:
    """COCO run lengths."""

    rle: Rle

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)"""
        return from_rle(self.rle)


@dataclass(frozen=True)
class PolygonShape:
    """COCO's or YOLO's polygons, filled as pycocotools fills them."""

    polygons: tuple[tuple[float, ...], ...]
    """Each (x0, y0, x1, y1, ...) in pixels, or in 0-1 when `is_normalised`."""
    is_normalised: bool = False

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)"""
        from pycocotools import mask as coco_mask

        scale = np.array([hw[1], hw[0]] if self.is_normalised else [1, 1], dtype=float)
        rows = [(np.array(p).reshape(-1, 2) * scale).ravel().tolist() for p in self.polygons]
        return from_rle(coco_mask.merge(coco_mask.frPyObjects(rows, *hw)))


@dataclass(frozen=True)
class PixelShape:
    """One value, or every value but 0 and `ignore`, of a mask picture."""

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

    def ignored(self) -> NDArray[np.bool_] | None:
        """(H, W) pixels that count neither way."""
        return None if self.ignore is None else label_pixels(self.file) == self.ignore


Shape = RleShape | PolygonShape | PixelShape


@dataclass(frozen=True)
class TruthRef:
    """One annotated object."""

    id: str
    shape: Shape
    is_crowd: bool = False


@dataclass(frozen=True)
class Sample:
    """One photo with its objects."""

    name: str
    source: str
    photo: FileRef
    objects: tuple[TruthRef, ...] = field(repr=False)
    image_id: int | None = None
    """COCO's, for detection files."""

    def open(self) -> Rgb:
        """The photo as stored, not turned by its EXIF orientation: annotations are made on the stored pixels.

        Raises:
            DataError: it is missing or damaged.
        """
        try:
            with Image.open(io.BytesIO(self.photo.read())) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise DataError(f"{self.name}: the photo cannot be read ({error})") from error


@dataclass(frozen=True)
class Problem:
    """A photo or annotation that could not be read; reported and counted, never skipped in silence."""

    name: str
    reason: str


def label_pixels(file: FileRef) -> NDArray[np.uint8]:
    """A mask picture as (H, W): palette indices, grey values, or the largest channel of a colour picture.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        with Image.open(io.BytesIO(file.read())) as image:
            pixels = np.asarray(image if image.mode in ("P", "L") else image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{file.path}: the mask cannot be read ({error})") from error
    return pixels if pixels.ndim == 2 else pixels.max(axis=2)


def check_size(mask: NDArray[np.bool_], hw: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """The mask, if it has the photo's size.

    Raises:
        DataError: it has not.
    """
    if mask.shape != hw:
        raise DataError(f"{name}: the mask is {mask.shape[1]}x{mask.shape[0]}, the photo {hw[1]}x{hw[0]}")
    return mask
