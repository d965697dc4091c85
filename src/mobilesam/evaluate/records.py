"""Evaluation results of one photo, and their conversion to and from JSON.

`to_dict` gives what is written to the report or to the journal of a run; `from_dict` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from mobilesam.data.photo import PhotoId, Problem
from mobilesam.errors import DataError
from mobilesam.settings import fits, kinds

RECALL_LIMITS = (10, 100, 1000)
"""Limits of masks per photo at which average recall is reported."""
TWO_POINT_DISTANCES = (100, 200, 300, 400, 500)
"""Distances in pixels between the two points of the protocol `two-point`."""

Json = dict[str, Any]
R = TypeVar("R")


def checked(record: R) -> R:
    """Return a record that was read from a file, if its fields have the types that its class declares.

    Raises:
        DataError: names the first that has not.
    """
    cls: Any = type(record)
    for name, kind in kinds(cls).items():
        if not fits(value := getattr(record, name), kind):
            raise DataError(f"{type(record).__name__}.{name} cannot be {value!r:.40}")
    return record


@dataclass(frozen=True)
class Candidates:
    """Scores and true IoUs of the three masks for one click."""

    scores: tuple[float, ...]
    ious: tuple[float, ...]


@dataclass(frozen=True)
class ClicksNeeded:
    """Number of clicks to reach 85 and 90 % IoU on one object; a failure counts as the maximum of clicks."""

    noc_85: int
    noc_90: int
    failed_85: bool
    failed_90: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of one protocol on one object: a row of the report."""

    protocol: str
    photo: PhotoId
    object: str
    """Id of the object, unique in its data set."""
    source: str
    """The source that the annotation names; empty if none."""
    iou: float
    boundary_iou: float
    components: int
    """Connected components of the mask; 0 in older reports, which do not count them."""
    area: int
    """Area of the annotated object in pixels."""
    size: str
    """COCO's size class of `area`: S, M or L."""
    score: float | None
    points: tuple[tuple[int, ...], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, ...] | None = None
    """(x0, y0, x1, y1) in pixels."""
    candidates: Candidates | None = None
    """Only for `click`."""
    clicks_needed: ClicksNeeded | None = None
    """Only for `noc`."""
    iou_by_distance: dict[int, float] = field(default_factory=dict)
    """Only for `two-point`: distance in pixels → IoU."""

    def to_dict(self) -> Json:
        """The row as a flat JSON-able dict; further measurements of a protocol are keys of their own."""
        # Flat, because rows are mostly read as a table, such as by pandas.
        plain = ("iou", "boundary_iou", "components", "area", "size", "score", "points", "labels", "box")
        return {
            "protocol": self.protocol,
            **identity(self.photo),
            "object": self.object,
            "source": self.source,
            **{name: getattr(self, name) for name in plain},
            **(asdict(self.candidates) if self.candidates else {}),
            **(asdict(self.clicks_needed) if self.clicks_needed else {}),
            **{f"iou_{distance}": value for distance, value in self.iou_by_distance.items()},
        }

    @classmethod
    def from_dict(cls, record: Json) -> Row:
        """Inverse of `to_dict`."""
        row = cls(
            **{name: record[name] for name in ("protocol", "object", "source", "iou", "boundary_iou", "area", "size")},
            photo=read_identity(record),
            components=record.get("components", 0),  # reports from before this metric
            score=record["score"],
            points=tuple(tuple(point) for point in record["points"]),
            labels=tuple(record["labels"]),
            box=None if record["box"] is None else tuple(record["box"]),
            candidates=checked(Candidates(tuple(record["scores"]), tuple(record["ious"])))
            if "scores" in record
            else None,
            clicks_needed=checked(ClicksNeeded(**pick(record, ClicksNeeded))) if "noc_85" in record else None,
            iou_by_distance={d: record[f"iou_{d}"] for d in TWO_POINT_DISTANCES if f"iou_{d}" in record},
        )
        return checked(row)


@dataclass(frozen=True)
class Search:
    """Result of the protocol `everything` on one photo."""

    num_objects: int
    num_masks: int
    num_prompts: int
    seconds: float
    recalled: dict[int, int]
    """Limit of masks → number of recalled (object, IoU threshold) pairs; there are ten thresholds per object."""

    @classmethod
    def from_dict(cls, record: Json) -> Search:
        """Inverse of `dataclasses.asdict`; converts the limits back from JSON's string keys."""
        return checked(cls(**{**record, "recalled": {int(limit): n for limit, n in record["recalled"].items()}}))


@dataclass(frozen=True, kw_only=True)
class EvaluatedPhoto:
    """Results of all protocols on one photo."""

    photo: PhotoId
    is_read: bool
    """Whether the photo and its annotation could be read."""
    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()
    left_out: int = 0
    """Objects that the settings exclude, plus (object, protocol) pairs for which the protocol has no prompt."""
    search: Search | None = None
    content: str = ""
    """`data.checksums.content_checksum` of the photo, by which older reports tell if they are of the same data."""
    content_bytes: str = ""
    """`data.checksums.bytes_checksum` of the photo, which shows if another report is of the same data."""

    def to_dict(self) -> Json:
        """The result as a JSON-able dict, a line of the journal."""
        return {
            **identity(self.photo),
            "is_read": self.is_read,
            "rows": [row.to_dict() for row in self.rows],
            "problems": [problem_to_dict(problem) for problem in self.problems],
            "left_out": self.left_out,
            "search": asdict(self.search) if self.search else None,
            "content": self.content,
            "content_bytes": self.content_bytes,
        }

    @classmethod
    def from_dict(cls, record: Json) -> EvaluatedPhoto:
        """Inverse of `to_dict`."""
        result = cls(
            photo=read_identity(record),
            is_read=record["is_read"],
            rows=tuple(map(Row.from_dict, record["rows"])),
            problems=tuple(map(problem_from_dict, record["problems"])),
            left_out=record["left_out"],
            search=Search.from_dict(record["search"]) if record["search"] else None,
            content=record["content"],
            content_bytes=record["content_bytes"],
        )
        return checked(result)


def problem_to_dict(problem: Problem) -> Json:
    """A problem as a flat JSON-able dict."""
    return {**identity(problem.id), "reason": problem.reason}


def problem_from_dict(record: Json | list[str]) -> Problem:
    """Inverse of `problem_to_dict`; in reports of format 1, a problem is a [name, reason] list."""
    if isinstance(record, list):
        return checked(Problem(checked(PhotoId("", record[0])), record[1]))
    return checked(Problem(read_identity(record), record["reason"]))


def identity(photo: PhotoId) -> Json:
    """The identity of a photo as entries of a flat dict."""
    return {"dataset": photo.dataset, "photo": photo.path}


def read_identity(record: Json) -> PhotoId:
    """Inverse of `identity`; the data set is empty for reports of format 1, which do not name it."""
    return checked(PhotoId(record.get("dataset", ""), record["photo"]))


def pick(record: Mapping[str, Any], cls: Any) -> Json:
    """The entries of a flat dict whose keys are fields of a dataclass."""
    return {name: record[name] for name in cls.__dataclass_fields__ if name in record}
