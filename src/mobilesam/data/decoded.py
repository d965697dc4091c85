"""Decoding a photo: its pixels, and the masks of its objects as run lengths."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mobilesam.data.photo import ObjectRef, PhotoId, PhotoRef
from mobilesam.data.pictures import Pictures
from mobilesam.data.shapes import RleShape
from mobilesam.errors import DataError, first_line
from mobilesam.image import Rgb
from mobilesam.masks import Rle, from_rle

# H W photo

UNREAD = "unread"
"""The source that is reported for photos whose annotations were not read."""


@dataclass(frozen=True)
class DecodedPhoto:
    """The pixels of a photo and its objects; masks stay encoded until they are used."""

    id: PhotoId
    source: str
    rgb: Rgb
    """(H, W, 3), in the frame that its annotation was drawn in."""
    run_lengths: tuple[Rle, ...]
    """Masks of the objects, without crowd regions."""
    areas: tuple[float, ...]
    """Area of each object in pixels: the one that the annotation states, otherwise the number of mask pixels."""

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The mask (H, W) of object `index`."""
        return from_rle(self.run_lengths[index], (self.rgb.shape[0], self.rgb.shape[1]))


def read_photo(photo: PhotoRef, *, need_masks: bool = True) -> DecodedPhoto:
    """Read a photo's file and decode it.

    Args:
        photo: where it lies.
        need_masks: read the annotation too; without it there are no objects, and the source is "unread".

    Raises:
        DataError: the file, the photo or its annotation is missing or damaged; names both.
    """
    return decode_photo(photo, read_bytes(photo), need_masks=need_masks)


def warn_left_out(error: DataError) -> None:
    """Warn that a photo is left out because decoding it failed; the caller uses another photo instead."""
    warnings.warn(f"left out: {error}", stacklevel=2)


def read_bytes(photo: PhotoRef) -> bytes:
    """Read the encoded bytes of a photo.

    Raises:
        DataError: its file cannot be read.
    """
    try:
        return photo.file.read()
    except OSError as error:
        raise _damaged(photo, error) from error


def decode_photo(photo: PhotoRef, encoded: bytes, *, need_masks: bool = True) -> DecodedPhoto:
    """Decode a photo from its encoded bytes, in the orientation of its annotation (`PhotoRef.decode`).

    An object whose mask is broken is left out with a warning; the photo is refused where that leaves none.

    Arguments and errors are those of `read_photo`.
    """
    try:
        rgb = photo.decode(encoded)
        if not need_masks:
            return DecodedPhoto(photo.id, UNREAD, rgb, (), ())
        annotation = photo.annotation()
        refs = [one for one in annotation.objects if not one.is_crowd]
        objects, broken = measure(refs, (rgb.shape[0], rgb.shape[1]))
        if broken and not objects:
            raise broken[0]
    except (OSError, ValueError, DataError) as error:
        raise _damaged(photo, error) from error
    for problem in broken:
        warnings.warn(f"left out: {photo.file.path}: photo '{photo.id}': {problem}", stacklevel=2)
    return DecodedPhoto(
        photo.id, annotation.source, rgb, tuple(rle for rle, _ in objects), tuple(area for _, area in objects)
    )


def measure(objects: list[ObjectRef], hw: tuple[int, int]) -> tuple[list[tuple[Rle, float]], list[DataError]]:
    """Compute run lengths and areas of objects on a photo of size `hw`; those that cover no pixel are left out.

    Returns:
        The run lengths and the area of each object; and an error for each whose mask has another size than the photo
        or cannot be read.
    """
    pictures = Pictures()
    measured: list[tuple[Rle, float]] = []
    broken: list[DataError] = []
    for one in objects:
        shape = one.shape
        try:
            rle = pictures.rle(shape, hw)
            if tuple(rle["size"]) != hw:
                raise DataError(f"a mask is {rle['size'][1]}x{rle['size'][0]}, the photo {hw[1]}x{hw[0]}")
        except (OSError, ValueError, DataError) as error:  # costs this object, not its photo
            broken.append(DataError(f"object {one.id}: {first_line(error)}"))
            continue
        stated = shape.area if isinstance(shape, RleShape) else None
        area = float(coco_mask.area(rle)) if stated is None else float(stated)
        if area or stated is not None:
            measured.append((rle, area))
    return measured, broken


def _damaged(photo: PhotoRef, error: Exception) -> DataError:
    return DataError(f"{photo.file.path}: photo '{photo.id}' is damaged ({first_line(error)})")
