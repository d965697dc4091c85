"""References to the photos of a data set: identity, location of the bytes, and annotation.

Everything here is a reference. Pixels, records and masks are read only on demand, so that a reference can
be sent to another process and a list of a million of them fits in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mobilesam.data.files import FileRef
from mobilesam.data.shapes import Shape, check_mask_size
from mobilesam.errors import DataError, first_line
from mobilesam.image import MAX_PIXELS, Frame, Rgb, open_stored, read_header
from mobilesam.opening.pixels import SIDEWAYS, turn
from mobilesam.remote import is_lost

MALFORMED = (DataError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, RecursionError)
"""The exceptions that reading a malformed record raises."""


@dataclass(frozen=True, order=True)
class PhotoId:
    """Identity of a photo: its data set and its path in it; photos are the same only if both are equal.

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
    """Whether it is a region of many objects rather than one object (COCO's `iscrowd`)."""

    def mask(self, hw: tuple[int, int]) -> NDArray[np.bool_]:
        """The object's mask (H, W) on a photo of size `hw`.

        Raises:
            DataError: the shape does not fit the photo or is malformed; the message names the object.
        """
        try:
            mask = self.shape.mask(hw)
        except DataError as error:
            raise DataError(f"object {self.id}: {error}") from error
        # A label picture is as large as its file, whatever the photo's size.
        return check_mask_size(mask, hw, f"object {self.id}")


@dataclass(frozen=True)
class Annotation:
    """The annotation of one photo: its objects, and those that cannot be read."""

    source: str
    """The data set that the record names as its origin; sampling weights and tables are per source."""
    objects: tuple[ObjectRef, ...]
    broken: tuple[tuple[str, str], ...] = ()
    """What is annotated but cannot be used, as (object id, reason). An object is here or in `objects`, never in both;
    where `objects` is empty and this is not, nothing of the photo's annotation is usable."""


Size: TypeAlias = tuple[int, int]
"""(height, width)"""


class Truth(Protocol):
    """Reader of the annotation of one photo, which reads it only on demand."""

    def sizes(self) -> tuple[Size, ...]:
        """Sizes of the photo that the annotation states, those of masks first; empty where it states none.

        Raises:
            DataError, OSError, ValueError, KeyError, TypeError: the record is missing or malformed.
        """
        ...

    def read(self, photo: PhotoId) -> Annotation:
        """Read the annotation; a malformed object is reported in `broken` and does not affect the others.

        Raises:
            DataError, OSError, ValueError, KeyError, TypeError: the record as a whole is missing or malformed.
        """
        ...


@dataclass(frozen=True)
class Framing:
    """The orientation in which a photo was annotated: as stored in the file, or turned upright."""

    frame: Frame
    orientation: int = 1
    """EXIF orientation, 1-8; stored and upright pixels differ unless it is 1."""
    is_certain: bool = True
    """False where the annotation does not show it, so that `PhotoRef.unclear_frame` was assumed."""


def frame_of(stored_hw: Size, orientation: int, sizes: tuple[Size, ...], unclear: Frame) -> Framing:
    """Decide whether an annotation was drawn on the stored or on the upright pixels.

    Only a photo that lies on its side (orientation 5-8) has another size when upright. The first stated size that
    fits one of the two decides; a size that fits neither says nothing here and is a problem of its own mask.

    Args:
        stored_hw: size of the stored photo.
        orientation: its EXIF orientation, 1-8.
        sizes: what the annotation states, the most trustworthy first.
        unclear: the frame to assume where that does not show it: photos turned by 180 degrees, mirrored or square, and
            annotations without a size.
    """
    if orientation == 1:
        return Framing("upright")
    upright_hw = stored_hw[::-1] if orientation in SIDEWAYS else stored_hw
    if upright_hw != stored_hw:
        for size in sizes:
            if size in (stored_hw, upright_hw):
                return Framing("stored" if size == stored_hw else "upright", orientation)
    return Framing(unclear, orientation, is_certain=False)


@dataclass(frozen=True)
class PhotoRef:
    """One photo that has not been read yet."""

    id: PhotoId
    file: FileRef
    truth: Truth | None
    """The reader of its annotation; None where the photo has none."""
    image_id: int | str | None = None
    """COCO's image id in the form of `coco.image_key`, to match files of detections."""
    unclear_frame: Frame = "upright"
    """The frame assumed for an annotation that does not show it. Labelling tools show photos upright,
    and the files of `mobilesam everything` are made so."""
    max_pixels: int = MAX_PIXELS
    """Most pixels that are opened; a larger photo is refused."""
    value_range: tuple[float, float] | None = None
    """The values that become black and white in a photo of more than 8 bits; see `mobilesam.image.open_photo`."""
    other_ids: tuple[int | str, ...] = ()
    """Further image ids by which a COCO file names the same photo."""

    @property
    def image_ids(self) -> tuple[int | str, ...]:
        """All image ids of the photo; empty where it has none."""
        return () if self.image_id is None else (self.image_id, *self.other_ids)

    @property
    def name(self) -> str:
        """Path in its data set; not unique across data sets."""
        return self.id.path

    def open(
        self,
        *,
        frame: Frame | None = None,
        max_side: int | None = None,
    ) -> Rgb:
        """Open the photo as (H, W, 3) in the orientation that its annotation was drawn in, so that masks fit.

        Args:
            frame: "stored" or "upright" pixels instead; upright is what the predictor sees.
            max_side: see `mobilesam.image.open_photo`.

        Raises:
            DataError: it is missing, damaged, truncated or too large.
        """
        try:
            with self.file.open() as file:
                return self.decode(file, frame=frame, max_side=max_side)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def decode(
        self,
        encoded: bytes | BinaryIO,
        *,
        frame: Frame | None = None,
        max_side: int | None = None,
    ) -> Rgb:
        """Decode the photo as `open` does, from a file that has been read or opened already.

        Args:
            encoded: bytes of the photo's file, or the file.
            frame, max_side: as of `open`.

        Raises:
            ImageError: it is damaged, truncated or too large.
        """
        rgb, orientation = open_stored(
            encoded,
            what="the photo",
            max_pixels=self.max_pixels,
            max_side=max_side,
            value_range=self.value_range,
        )
        hw = (rgb.shape[0], rgb.shape[1])
        if orientation != 1 and frame is None and max_side is not None:
            hw, _ = read_header(encoded, "the photo", self.max_pixels)  # the size before it was reduced
        if orientation == 1 or (frame or self.framing_of(hw, orientation).frame) == "stored":
            return rgb
        return turn(rgb, orientation)

    def header(self) -> tuple[Size, int]:
        """Size of the stored pixels and EXIF orientation (1-8); reads only the file's beginning where that suffices.

        Raises:
            DataError: the photo is missing or damaged.
        """
        try:
            with self.file.open() as file:
                return read_header(file, "the photo", self.max_pixels)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def framing(self) -> Framing:
        """The orientation that its annotation was drawn in, and whether it is certain; errors are those of `header`."""
        return self.framing_of(*self.header())

    def framing_of(self, stored_hw: Size, orientation: int) -> Framing:
        """As `framing`, for a photo whose header has been read.

        Raises:
            OSError: the store of the annotation does not answer.
        """
        try:
            sizes = () if self.truth is None or orientation not in SIDEWAYS else self.truth.sizes()
        except (*MALFORMED, OSError) as error:  # `annotation` names what is wrong
            if is_lost(error):
                raise
            sizes = ()
        return frame_of(stored_hw, orientation, sizes, self.unclear_frame)

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self.file.path}: photo '{self.name}' cannot be read ({first_line(error)})")

    def annotation(self) -> Annotation:
        """Read the photo's annotation.

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
