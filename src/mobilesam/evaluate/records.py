"""Records of one photo: the answers about its objects, and their form in JSON.

`to_dict` gives what is written to the report or to the journal of a run, and `from_dict` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mobilesam.data.photo import PhotoId, Problem

RECALL_LIMITS = (10, 100, 1000)
"""Numbers of masks per photo at which average recall is reported."""
TWO_POINT_DISTANCES = (100, 200, 300, 400, 500)
"""Pixels between the two points of the protocol `two-point`."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Candidates:
    """The three masks of one click."""

    scores: tuple[float, ...]
    ious: tuple[float, ...]


@dataclass(frozen=True)
class ClicksNeeded:
    """Clicks until an object is reached at 85 and 90 % IoU; a failure counts as the largest number of clicks."""

    noc_85: int
    noc_90: int
    failed_85: bool
    failed_90: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """The answer of one protocol about one object."""

    protocol: str
    photo: PhotoId
    object: str
    """Id of the object, unique in its data set."""
    source: str
    """Where the annotation says it comes from."""
    iou: float
    boundary_iou: float
    components: int
    """Connected pieces of the mask; 0 in reports from before they were counted."""
    area: int
    """Pixels of the object."""
    size: str
    """COCO's class by area: S, M or L."""
    score: float | None
    points: tuple[tuple[int, ...], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, ...] | None = None
    """(x0, y0, x1, y1) in pixels."""
    candidates: Candidates | None = None
    """Of `click`."""
    clicks_needed: ClicksNeeded | None = None
    """Of `noc`."""
    iou_by_distance: dict[int, float] = field(default_factory=dict)
    """Of `two-point`: distance in pixels → IoU."""

    def to_dict(self) -> Json:
        """As JSON: one flat object, with what a protocol measures besides under names of its own."""
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
        return cls(
            **{name: record[name] for name in ("protocol", "object", "source", "iou", "boundary_iou", "area", "size")},
            photo=read_identity(record),
            components=record.get("components", 0),
            score=record["score"],
            points=tuple(tuple(point) for point in record["points"]),
            labels=tuple(record["labels"]),
            box=None if record["box"] is None else tuple(record["box"]),
            candidates=Candidates(tuple(record["scores"]), tuple(record["ious"])) if "scores" in record else None,
            clicks_needed=ClicksNeeded(**pick(record, ClicksNeeded)) if "noc_85" in record else None,
            iou_by_distance={d: record[f"iou_{d}"] for d in TWO_POINT_DISTANCES if f"iou_{d}" in record},
        )


@dataclass(frozen=True)
class Search:
    """What `everything` found on one photo."""

    num_objects: int
    num_masks: int
    num_prompts: int
    seconds: float
    recalled: dict[int, int]
    """Limit of masks → recalled pairs of an object and an IoU threshold; ten thresholds per object."""

    @classmethod
    def from_dict(cls, record: Json) -> Search:
        """Inverse of `dataclasses.asdict`, after JSON has made texts of the limits."""
        return cls(**{**record, "recalled": {int(limit): count for limit, count in record["recalled"].items()}})


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """All protocols on one photo."""

    photo: PhotoId
    is_read: bool
    """Whether photo and annotation could be read."""
    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()
    left_out: int = 0
    """Objects that the settings leave out, and questions that a protocol cannot ask."""
    search: Search | None = None

    def to_dict(self) -> Json:
        """As JSON."""
        return {
            **identity(self.photo),
            "is_read": self.is_read,
            "rows": [row.to_dict() for row in self.rows],
            "problems": [problem_to_dict(problem) for problem in self.problems],
            "left_out": self.left_out,
            "search": asdict(self.search) if self.search else None,
        }

    @classmethod
    def from_dict(cls, record: Json) -> PhotoResult:
        """Inverse of `to_dict`."""
        return cls(
            photo=read_identity(record),
            is_read=record["is_read"],
            rows=tuple(map(Row.from_dict, record["rows"])),
            problems=tuple(map(problem_from_dict, record["problems"])),
            left_out=record["left_out"],
            search=Search.from_dict(record["search"]) if record["search"] else None,
        )


def problem_to_dict(problem: Problem) -> Json:
    """A problem as JSON."""
    return {**identity(problem.id), "reason": problem.reason}


def problem_from_dict(record: Json | list[str]) -> Problem:
    """Inverse of `problem_to_dict`; format 1 had pairs of a name and a reason."""
    if isinstance(record, list):
        return Problem(PhotoId("", record[0]), record[1])
    return Problem(read_identity(record), record["reason"])


def identity(photo: PhotoId) -> Json:
    """A photo in a flat record."""
    return {"dataset": photo.dataset, "photo": photo.path}


def read_identity(record: Json) -> PhotoId:
    """Inverse of `identity`; reports of format 1 name no data set."""
    return PhotoId(record.get("dataset", ""), record["photo"])


def pick(record: Mapping[str, Any], cls: Any) -> Json:
    """The entries that a flat record has for the fields of a dataclass."""
    return {name: record[name] for name in cls.__dataclass_fields__ if name in record}
