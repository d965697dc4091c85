"""A photo of a data set: its identity, where its bytes lie, and what is annotated on it.

Everything here is a reference. Pixels, records and masks are read when they are asked for, so that a reference can
travel to another process and a list of a million of them fits in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobilesam.data.files import FileRef, open_picture
from mobilesam.data.shapes import Shape
from mobilesam.errors import DataError, first_line
from mobilesam.image import Rgb

DAMAGED = "the photo is damaged or truncated"
MALFORMED = (DataError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, RecursionError)
"""What reading a record raises that is not what it should be."""


@dataclass(frozen=True, order=True)
class PhotoId:
    """Identity of a photo: two photos are one only if both fields are equal.

    Results, embeddings and held-out sets are keyed by it, never by a bare file name, which other data sets use too.
    """

    dataset: str
    """Name of the data set, unique among those read together; see `layouts.name_datasets`."""
    path: str
    """Relative path of the photo in its data set, "/" between folders; inside a tar without its suffix."""

    def __str__(self) -> str:
        return f"{self.dataset}/{self.path}"


@dataclass(frozen=True)
class ObjectRef:
    """One annotated object."""

    id: str
    """Unique in its data set."""
    shape: Shape
    is_crowd: bool = False
    """A region of many objects, which is no object itself (COCO's `iscrowd`)."""

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W) mask on a photo of that size.

        Raises:
            DataError: the shape does not fit the photo or is malformed; the message names the object.
        """
        try:
            return self.shape.mask(hw)
        except DataError as error:
            raise DataError(f"object {self.id}: {error}") from error


@dataclass(frozen=True)
class Annotation:
    """What is annotated on one photo."""

    source: str
    """Name of the data set that the record says it comes from, for weights and tables by source."""
    objects: tuple[ObjectRef, ...]
    broken: tuple[tuple[str, str], ...] = ()
    """What is annotated but cannot be used, as (object id, reason). An object is here or in `objects`, never in both;
    where `objects` is empty and this is not, nothing of the photo's annotation is usable."""


class Truth(Protocol):
    """Reads the annotation of one photo when it is asked for."""

    def read(self, photo: PhotoId) -> Annotation:
        """The annotation; an object that is malformed is named in `broken` and costs only itself.

        Raises:
            DataError, OSError, ValueError, KeyError, TypeError: the record as a whole is missing or malformed.
        """
        ...


@dataclass(frozen=True)
class PhotoRef:
    """One photo that has not been read yet."""

    id: PhotoId
    file: FileRef
    truth: Truth | None
    """None where nothing is annotated."""
    image_id: int | str | None = None
    """COCO's, for detection files; as `coco.image_key` spells it."""

    @property
    def name(self) -> str:
        """Path in its data set; not an identity."""
        return self.id.path

    def open(self) -> Rgb:
        """The photo as stored, (H, W, 3). It is not turned by its EXIF orientation: annotations are made on the stored
        pixels.

        Raises:
            DataError: it is missing, damaged or truncated.
        """
        try:
            return decode(self.file.read())
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{self.file.path}: photo '{self.name}' cannot be read ({first_line(error)})") from error

    def annotation(self) -> Annotation:
        """What is annotated on it.

        Raises:
            DataError: there is no annotation, or it is malformed.
        """
        if self.truth is None:
            raise DataError("no annotation beside the photo")
        try:
            return self.truth.read(self.id)
        except (*MALFORMED, OSError) as error:
            raise DataError(f"broken annotation: {reason(error)}") from error


@dataclass(frozen=True)
class Problem:
    """A photo or an annotation that cannot be used: counted and named, never skipped in silence."""

    id: PhotoId
    reason: str

    @property
    def name(self) -> str:
        """Path in its data set."""
        return self.id.path


Item = PhotoRef | Problem


def reason(error: BaseException) -> str:
    """Why a record cannot be used, for a message."""
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, KeyError):
        return f"no {first_line(error)}"
    return f"{type(error).__name__} {first_line(error)}"


def decode(encoded: bytes) -> Rgb:
    """Encoded photo → (H, W, 3) RGB. Pillow refuses a truncated photo, which OpenCV would fill up with grey.

    Raises:
        OSError, ValueError, SyntaxError: it is damaged or no photo.
    """
    with open_picture(encoded) as photo:
        return np.asarray(photo.convert("RGB"))
