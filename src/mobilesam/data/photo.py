"""A photo of a data set: its identity, where its bytes lie, and what is annotated on it.

Everything here is a reference. Pixels, records and masks are read when they are asked for, so that a reference can
travel to another process and a list of a million of them fits in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mobilesam.data.files import FileRef, open_picture
from mobilesam.data.shapes import Shape
from mobilesam.errors import DataError, first_line
from mobilesam.image import Rgb

DAMAGED = "the photo is damaged or truncated"


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


@dataclass(frozen=True)
class Annotation:
    """What is annotated on one photo."""

    source: str
    """Name of the data set that the record says it comes from, for weights and tables by source."""
    objects: tuple[ObjectRef, ...]


class Truth(Protocol):
    """Reads the annotation of one photo when it is asked for."""

    def read(self, photo: PhotoId) -> Annotation:
        """The annotation.

        Raises:
            OSError, ValueError, KeyError, TypeError: the record is missing or malformed.
        """
        ...


@dataclass(frozen=True)
class PhotoRef:
    """One photo that has not been read yet."""

    id: PhotoId
    file: FileRef
    truth: Truth | None
    """None where nothing is annotated."""
    image_id: int | None = None
    """COCO's, for detection files."""

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
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"broken annotation: {type(error).__name__} {first_line(error)}") from error


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


def decode(encoded: bytes) -> Rgb:
    """Encoded photo → (H, W, 3) RGB. Pillow refuses a truncated photo, which OpenCV would fill up with grey.

    Raises:
        OSError, ValueError, SyntaxError: it is damaged or no photo.
    """
    with open_picture(encoded) as photo:
        return np.asarray(photo.convert("RGB"))
