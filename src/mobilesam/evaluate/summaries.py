"""Records of a whole evaluation: numbers over rows, the report, and their form in JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from mobilesam.data.photo import Problem
from mobilesam.evaluate.records import (
    RECALL_LIMITS,
    TWO_POINT_DISTANCES,
    Json,
    Row,
    pick,
    problem_from_dict,
    problem_to_dict,
)

FORMAT = "mobilesam-evaluate-2"
FORMAT_1 = "mobilesam-evaluate-1"
"""Its rows name no data set, and its average recall follows another rule."""


@dataclass(frozen=True)
class Part:
    """A part of the rows of one protocol."""

    mean_iou: float
    num_objects: int


@dataclass(frozen=True)
class MeanClicks:
    """Mean number of clicks needed, and number of failures."""

    noc_85: float
    noc_90: float
    failed_85: int
    failed_90: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of one protocol. Where it has no rows, there are none but `num_objects`, which is 0."""

    num_objects: int = 0
    mean_iou: float = float("nan")
    """Over objects."""
    low: float = float("nan")
    high: float = float("nan")
    """95 % interval of the mean, photos drawn anew."""
    mean_iou_over_photos: float = float("nan")
    boundary_iou: float = float("nan")
    components: float = float("nan")
    by_size: dict[str, Part] = field(default_factory=dict)
    by_source: dict[str, Part] = field(default_factory=dict)
    by_dataset: dict[str, Part] = field(default_factory=dict)
    clicks: MeanClicks | None = None
    """Of `noc`."""
    by_distance: dict[int, Part] = field(default_factory=dict)
    """Of `two-point`."""

    def to_dict(self) -> Json:
        """As JSON, flat like a row."""
        if not self.num_objects:
            return {"num_objects": 0}
        record = asdict(self)
        by_distance, clicks = record.pop("by_distance"), record.pop("clicks")
        return {**record, **(clicks or {}), **{f"iou_{d}": part for d, part in by_distance.items()}}

    @classmethod
    def from_dict(cls, record: Json) -> Summary:
        """Inverse of `to_dict`."""
        parts = {
            name: {key: Part(**part) for key, part in record.get(name, {}).items()}
            for name in ("by_size", "by_source", "by_dataset")
        }
        return cls(
            **{**pick(record, cls), **parts},
            clicks=MeanClicks(**pick(record, MeanClicks)) if "noc_85" in record else None,
            by_distance={d: Part(**record[f"iou_{d}"]) for d in TWO_POINT_DISTANCES if f"iou_{d}" in record},
        )


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval, photos drawn anew."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Average recall of `everything`, over the photos that have objects."""

    num_photos: int
    num_objects: int
    average_recall: dict[int, Interval]
    """Limit of masks per photo → the number, all objects pooled."""
    mean_num_masks: float
    mean_num_prompts: float

    def to_dict(self) -> Json:
        """As JSON: a key for each limit, such as "ar_100"."""
        record = asdict(self)
        intervals = record.pop("average_recall")
        return {**record, **{f"ar_{limit}": interval for limit, interval in intervals.items()}}

    @classmethod
    def from_dict(cls, record: Json) -> Recall:
        """Inverse of `to_dict`; reports of format 1 do not count objects."""
        average = {limit: Interval(**record[f"ar_{limit}"]) for limit in RECALL_LIMITS}
        return cls(**{"num_objects": 0, **pick(record, cls)}, average_recall=average)


@dataclass(frozen=True)
class CalibrationBin:
    """Masks whose score falls between two numbers."""

    start: float
    end: float
    count: int
    mean_score: float
    mean_iou: float


@dataclass(frozen=True)
class Calibration:
    """How far the model's own scores can be trusted, from the three masks of each click."""

    best_scored_is_best: float
    """Fraction of clicks."""
    mean_iou_of_best_scored: float
    mean_iou_of_best: float
    bins: tuple[CalibrationBin, ...]

    def to_dict(self) -> Json:
        """As JSON, the ends of each bin as "from" and "to"."""
        bins = [asdict(one) for one in self.bins]
        return {**asdict(self), "bins": [{"from": one.pop("start"), "to": one.pop("end"), **one} for one in bins]}

    @classmethod
    def from_dict(cls, record: Json) -> Calibration:
        """Inverse of `to_dict`."""
        bins = (
            CalibrationBin(one["from"], one["to"], **{k: one[k] for k in ("count", "mean_score", "mean_iou")})
            for one in record["bins"]
        )
        return cls(**{**record, "bins": tuple(bins)})


@dataclass(frozen=True)
class Counts:
    """How much was evaluated."""

    photos: int
    """That could be read."""
    objects: int
    left_out: int
    problems: int


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What differs from run to run: time, memory and machine."""

    date: str
    machine: str
    versions: dict[str, str]
    peak_memory_mb: int
    """Of the largest process."""
    median_seconds_of_everything: float | None
    """Per photo."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one evaluation measures. What a second run repeats to the digit stands outside `run`."""

    settings: Json
    """As the version that wrote the report names them; they are not read back into settings."""
    model: Json
    """Name, hash of the weights and so on."""
    counts: Counts
    problems: tuple[Problem, ...]
    summary: dict[str, Summary]
    """By protocol."""
    everything: Recall | None
    calibration: Calibration | None
    run: RunRecord
    rows: tuple[Row, ...]

    def to_dict(self) -> Json:
        """As JSON."""
        return {
            "format": FORMAT,
            "settings": self.settings,
            "model": self.model,
            "counts": asdict(self.counts),
            "problems": [problem_to_dict(problem) for problem in self.problems],
            "summary": {name: summary.to_dict() for name, summary in self.summary.items()},
            "everything": self.everything.to_dict() if self.everything else None,
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "run": asdict(self.run),
            "rows": [row.to_dict() for row in self.rows],
        }

    @classmethod
    def from_dict(cls, record: Json) -> Report:
        """Inverse of `to_dict`; reads reports of format 1 too.

        Raises:
            KeyError, TypeError, ValueError: it is no report.
        """
        if record["format"] not in (FORMAT, FORMAT_1):
            raise ValueError(f"unknown format '{record['format']}'")
        everything, calibration = record.get("everything"), record.get("calibration")
        return cls(
            settings=record["settings"],
            model=record["model"],
            counts=Counts(**record["counts"]),
            problems=tuple(map(problem_from_dict, record["problems"])),
            summary={name: Summary.from_dict(summary) for name, summary in record["summary"].items()},
            everything=Recall.from_dict(everything) if everything else None,
            calibration=Calibration.from_dict(calibration) if calibration else None,
            run=RunRecord(**{"median_seconds_of_everything": None, **pick(record["run"], RunRecord)}),
            rows=tuple(map(Row.from_dict, record["rows"])),
        )
