"""Aggregated results of an evaluation, the report, and their conversion to and from JSON."""

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
"""Format of earlier versions: its rows do not name the data set, and its average recall has another definition."""


@dataclass(frozen=True)
class Part:
    """Mean IoU over a subset of the rows of one protocol, such as one data set."""

    mean_iou: float
    num_objects: int


@dataclass(frozen=True)
class MeanClicks:
    """Mean number of clicks to 85 and 90 % IoU (NoC), and number of objects that do not reach them."""

    noc_85: float
    noc_90: float
    failed_85: int
    failed_90: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Aggregated metrics of one protocol; NaN and empty if it has no rows."""

    num_objects: int = 0
    mean_iou: float = float("nan")
    """Mean over objects."""
    low: float = float("nan")
    high: float = float("nan")
    """95 % bootstrap interval of the mean, resampling photos."""
    mean_iou_over_photos: float = float("nan")
    boundary_iou: float = float("nan")
    components: float = float("nan")
    by_size: dict[str, Part] = field(default_factory=dict)
    by_source: dict[str, Part] = field(default_factory=dict)
    by_dataset: dict[str, Part] = field(default_factory=dict)
    clicks: MeanClicks | None = None
    """Only for `noc`."""
    by_distance: dict[int, Part] = field(default_factory=dict)
    """Only for `two-point`: distance in pixels → mean IoU."""

    def to_dict(self) -> Json:
        """The summary as a JSON-able dict, flat like a row."""
        if not self.num_objects:
            return {"num_objects": 0}  # NaN is not valid JSON
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
    """A value and its 95 % bootstrap interval, resampling photos."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Average recall of the protocol `everything`, over the photos that have objects."""

    num_photos: int
    num_objects: int
    average_recall: dict[int, Interval]
    """Limit of masks per photo → average recall over all objects of all photos."""
    mean_num_masks: float
    mean_num_prompts: float

    def to_dict(self) -> Json:
        """The recall as a JSON-able dict, with a key per limit such as "ar_100"."""
        record = asdict(self)
        intervals = record.pop("average_recall")
        return {**record, **{f"ar_{limit}": interval for limit, interval in intervals.items()}}

    @classmethod
    def from_dict(cls, record: Json) -> Recall:
        """Inverse of `to_dict`; `num_objects` is 0 for reports of format 1, which do not state it."""
        average = {limit: Interval(**record[f"ar_{limit}"]) for limit in RECALL_LIMITS}
        return cls(**{"num_objects": 0, **pick(record, cls)}, average_recall=average)


@dataclass(frozen=True)
class CalibrationBin:
    """One calibration bin: the masks whose score lies between `start` and `end`."""

    start: float
    end: float
    count: int
    mean_score: float
    mean_iou: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of the model's scores: how well they predict the IoU of the three masks of each click."""

    best_scored_is_best: float
    """Fraction of clicks where the highest-scored mask also has the highest IoU."""
    mean_iou_of_best_scored: float
    mean_iou_of_best: float
    bins: tuple[CalibrationBin, ...]

    def to_dict(self) -> Json:
        """The calibration as a JSON-able dict; the limits of each bin are "from" and "to"."""
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
    """Numbers of photos, objects, left out prompts and problems of an evaluation."""

    photos: int
    """Photos that could be read."""
    objects: int
    left_out: int
    problems: int


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Properties that differ from run to run: date, machine, versions, memory and time."""

    date: str
    machine: str
    versions: dict[str, str]
    peak_memory_mb: int
    """Peak memory of the largest process."""
    median_seconds_of_everything: float | None
    """Median time per photo of the protocol `everything`."""
    backend: str = ""
    """What ran the model, also where the settings say "auto"; "" in older reports, as the next two."""
    precision: str = ""
    """Number format that it computed in."""
    stored: str = ""
    """Format and precision of the model's files, such as "onnx int8"; "" for a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All results of one evaluation; only `run` differs if the evaluation is repeated."""

    settings: Json
    """Settings as the writing version names them; they are not converted back to `EvaluateSettings`."""
    model: Json
    """Name, hash of the weights and so on."""
    counts: Counts
    problems: tuple[Problem, ...]
    summary: dict[str, Summary]
    """Protocol → its aggregated metrics."""
    everything: Recall | None
    calibration: Calibration | None
    run: RunRecord
    rows: tuple[Row, ...]
    data: dict[str, str] = field(default_factory=dict)
    """Data set → checksum of the sizes of its photos and annotations (`data.checksums.data_checksums`); empty in older
    reports."""
    data_bytes: dict[str, str] = field(default_factory=dict)
    """Data set → checksum of the bytes of its photos and annotations; empty in older reports."""

    def to_dict(self) -> Json:
        """The report as a JSON-able dict."""
        return {
            "format": FORMAT,
            "settings": self.settings,
            "model": self.model,
            "data": self.data,
            "data_bytes": self.data_bytes,
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
        """Inverse of `to_dict`; also reads reports of format 1.

        Raises:
            KeyError, TypeError, ValueError: the record is not a report.
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
            data=_texts(record.get("data", {})),
            data_bytes=_texts(record.get("data_bytes", {})),
        )


def _texts(record: Json) -> dict[str, str]:
    return {str(name): str(value) for name, value in record.items()}
