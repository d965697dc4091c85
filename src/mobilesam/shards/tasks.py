"""The unit of work of one photo: where its bytes are, and the prompts to answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from mobilesam.data.files import FileRef, file_state
from mobilesam.data.photo import Annotation, PhotoId, PhotoRef, Size, Truth
from mobilesam.data.truths import CocoTruth, PixelTruth, RecordTruth
from mobilesam.errors import DataError
from mobilesam.image import MAX_PIXELS, Frame, Rgb, read_header
from mobilesam.remote import is_remote
from mobilesam.shards.cells import CellRef


@dataclass(frozen=True)
class Ask:
    """One prompt of a prompt file: a box, or a point on the object."""

    id: str
    """Its id in the prompt file, or its number among the photo's prompts."""
    box_xyxy: tuple[float, ...] | None = None
    """(x0, y0, x1, y1) in pixels of the photo."""
    point_xy: tuple[float, ...] | None = None
    """(x, y) in pixels of the photo."""
    category_id: int | None = None
    score: float | None = None
    """The detector's, 0-1."""

    def to_list(self) -> list[Any]:
        """As stored in the plan."""
        return [self.id, self.box_xyxy, self.point_xy, self.category_id, self.score]

    @classmethod
    def from_list(cls, values: list[Any]) -> Ask:
        """Inverse of `to_list`."""
        id, box, point, category, score = values
        return cls(id, tuple(box) if box else None, tuple(point) if point else None, category, score)


@dataclass(frozen=True)
class Task:
    """One photo to work on."""

    photo: PhotoId
    file: FileRef
    state: tuple[int, int]
    """Size and modification time (ns) of the file on disk when the run was planned."""
    asks: tuple[Ask, ...] = ()
    image_id: int | str | None = None
    """COCO's image id, where the input has one."""
    truth: Truth | None = None
    """The reader of its annotation, whose sizes show whether it was drawn on the stored pixels or on the upright ones.
    A COCO file is not read again by the workers: of its annotations the sizes alone are kept, as `Stated`."""
    other_ids: tuple[int | str, ...] = ()
    """Further image ids by which the input names the same photo."""

    @property
    def image_ids(self) -> tuple[int | str, ...]:
        """All image ids of the photo; empty where it has none."""
        return () if self.image_id is None else (self.image_id, *self.other_ids)

    def to_dict(self) -> dict[str, Any]:
        """As stored in the plan."""
        record: dict[str, Any] = {"photo": [self.photo.dataset, self.photo.path], "path": self.file.path}
        record["state"] = self.state
        if self.file.member is not None:
            record["member"] = self.file.member
        if isinstance(self.file, CellRef):
            record["cell"] = [self.file.column, *self.file.row]
        if self.image_id is not None:
            record["image_id"] = self.image_id
        if self.other_ids:
            record["other_ids"] = self.other_ids
        record |= truth_to_dict(self.truth, self.file.path)
        if self.asks:
            record["asks"] = [ask.to_list() for ask in self.asks]
        return record

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Task:
        """Inverse of `to_dict`."""
        member, file = record.get("member"), FileRef(record["path"])
        if member:
            file = FileRef(record["path"], tuple(member))
        elif "cell" in record:
            column, group, row = record["cell"]
            file = CellRef(record["path"], None, column, (group, row))
        return cls(
            PhotoId(*record["photo"]),
            file,
            tuple(record["state"]),
            tuple(map(Ask.from_list, record.get("asks", ()))),
            record.get("image_id"),
            truth_from_dict(record),
            tuple(record.get("other_ids", ())),
        )

    def read(self) -> bytes:
        """The bytes of the photo's file.

        Raises:
            DataError: it is not the file that was planned.
            OSError: it is missing or cannot be read.
        """
        if file_state(self.file.path) != self.state:
            raise DataError("the file changed after the run was planned; give a new output")
        return self.file.read()

    def decode(
        self,
        encoded: bytes,
        max_pixels: int = MAX_PIXELS,
        unclear_frame: Frame = "upright",
        value_range: tuple[float, float] | None = None,
        max_side: int | None = None,
    ) -> Rgb:
        """Decode the photo as its annotation was drawn: (H, W, 3).

        Args:
            encoded: `read`.
            max_pixels, unclear_frame, value_range: see `PhotoRef`.
            max_side: the longest side that is needed; see `mobilesam.image.open_photo`.

        Raises:
            ImageError: it is damaged, too large or no photo.
        """
        photo = PhotoRef(self.photo, self.file, self.truth, None, unclear_frame, max_pixels, value_range)
        return photo.decode(encoded, max_side=max_side)

    def has_clear_frame(self, encoded: bytes, max_pixels: int = MAX_PIXELS) -> bool:
        """Whether it shows on which pixels the annotation was drawn; arguments and errors are those of `decode`."""
        photo = PhotoRef(self.photo, self.file, self.truth, max_pixels=max_pixels)
        return photo.framing_of(*read_header(encoded, "the photo", max_pixels)).is_certain


@dataclass(frozen=True)
class Stated:
    """What is known of an annotation here: the sizes that it states."""

    stated: tuple[Size, ...]

    def sizes(self) -> tuple[Size, ...]:
        """See `mobilesam.data.photo.Truth`."""
        return self.stated

    def read(self, photo: PhotoId) -> Annotation:
        """There is nothing to read."""
        return Annotation("", ())


def truth_to_dict(truth: Truth | None, photo: str) -> dict[str, Any]:
    """What a worker needs of an annotation, as stored in the plan: where its file is, seen from the photo's folder."""
    if isinstance(truth, RecordTruth | PixelTruth):
        kind = "record" if isinstance(truth, RecordTruth) else "picture"
        path, folder = truth.file.path, os.path.dirname(photo)
        near = None if path == photo else path if is_remote(path) else os.path.relpath(path, folder)
        return {kind: [near, *(truth.file.member or ())]}
    sizes = truth.sizes() if isinstance(truth, CocoTruth | Stated) else ()
    return {"sizes": sizes} if sizes else {}


def truth_from_dict(record: dict[str, Any]) -> Truth | None:
    """Inverse of `truth_to_dict`, from the record of the whole task."""
    if "sizes" in record:
        return Stated(tuple((h, w) for h, w in record["sizes"]))
    for kind in ("record", "picture"):
        if kind in record:
            near, *member = record[kind]
            photo = record["path"]
            path = photo if near is None else near if is_remote(near) else os.path.join(os.path.dirname(photo), near)
            file = FileRef(path, (member[0], member[1]) if member else None)
            return RecordTruth(file) if kind == "record" else PixelTruth("", file, "object")
    return None
