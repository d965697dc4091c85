"""Building, writing and reading of evaluation reports: JSON for programs, Markdown tables for people."""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mobilesam import processor
from mobilesam.data.checksums import data_checksums
from mobilesam.data.photo import MALFORMED, reason
from mobilesam.errors import DataError
from mobilesam.evaluate.everything import average_recall
from mobilesam.evaluate.markdown import to_markdown
from mobilesam.evaluate.metrics import bootstrap, calibration, photo_order
from mobilesam.evaluate.records import TWO_POINT_DISTANCES, EvaluatedPhoto, Row
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.evaluate.summaries import Calibration, Counts, MeanClicks, Part, Report, RunRecord, Summary
from mobilesam.files import save_json, save_text
from mobilesam.outputs import DEFAULT, MARK, Outputs
from mobilesam.predict.backend import Backend
from mobilesam.predict.identity import runtime_of
from mobilesam.text import parse_json

K = TypeVar("K", bound="str | tuple[str, str]")


def build(settings: EvaluateSettings, backend: Backend, results: Sequence[EvaluatedPhoto], memory_mb: float) -> Report:
    """Build the report of one evaluation from the results of its photos; `backend` runs the model under test."""
    rows = tuple(row for result in results for row in result.rows)
    problems = tuple(problem for result in results for problem in result.problems)
    searches = [result.search for result in results if result.search]
    # An object has a row per protocol, so rows cannot be counted. Ids are unique within a data set.
    num_asked = len({(row.photo.dataset, row.object) for row in rows})
    return Report(
        settings=asdict(settings),
        model=asdict(backend.info),
        counts=Counts(
            photos=sum(result.is_read for result in results),
            # `everything` has no rows; its objects are counted by the search, and equal those of other protocols.
            objects=max(num_asked, sum(search.num_objects for search in searches)),
            left_out=sum(result.left_out for result in results),
            problems=len(problems),
        ),
        problems=problems,
        summary={name: summarise([row for row in rows if row.protocol == name]) for name in settings.per_object},
        everything=average_recall(results),
        calibration=calibrate(rows),
        run=record_run(backend, memory_mb, [search.seconds for search in searches]),
        rows=rows,
        data=data_checksums((result.photo, result.content) for result in results if result.content),
        data_bytes=data_checksums((result.photo, result.content_bytes) for result in results if result.content_bytes),
    )


def record_run(backend: Backend, memory_mb: float, seconds: Sequence[float]) -> RunRecord:
    """Record where and by what a model was run; `seconds` are those of each photo of the protocol `everything`."""
    runtime = runtime_of(backend)
    return RunRecord(
        date=time.strftime("%Y-%m-%d"),
        machine=f"{processor.describe()}, {os.cpu_count()} cores",
        versions={"python": platform.python_version(), "mobilesam": version("mobilesam"), **runtime.versions},
        peak_memory_mb=round(memory_mb),
        median_seconds_of_everything=float(np.median(seconds)) if seconds else None,
        backend=runtime.backend,
        precision=runtime.precision,
        stored=runtime.stored,
    )


def summarise(rows: Sequence[Row]) -> Summary:
    """Aggregate the rows of one protocol."""
    if not rows:
        return Summary()
    ious, photos = [row.iou for row in rows], [row.photo for row in rows]
    low, high = bootstrap(ious, photos)
    # The mean over photos is reported besides: the mean over objects is dominated by photos with many objects.
    by_photo = group(rows, lambda row: photo_order(row.photo))
    distances = {d: [r.iou_by_distance[d] for r in rows if d in r.iou_by_distance] for d in TWO_POINT_DISTANCES}
    return Summary(
        num_objects=len(rows),
        mean_iou=mean(ious),
        low=low,
        high=high,
        mean_iou_over_photos=mean([mean([row.iou for row in kept]) for kept in by_photo.values()]),
        boundary_iou=mean([row.boundary_iou for row in rows]),
        components=mean([row.components for row in rows]),
        by_size=parts(rows, lambda row: row.size),
        by_source=parts(rows, lambda row: row.source),
        by_dataset=parts(rows, lambda row: row.photo.dataset),
        clicks=mean_clicks(rows),
        by_distance={d: Part(mean(values), len(values)) for d, values in distances.items() if values},
    )


def mean_clicks(rows: Sequence[Row]) -> MeanClicks | None:
    """Mean number of clicks and number of failures over the rows of `noc`; None if there are none."""
    needed = [row.clicks_needed for row in rows if row.clicks_needed is not None]
    if not needed:
        return None
    return MeanClicks(
        noc_85=mean([one.noc_85 for one in needed]),
        noc_90=mean([one.noc_90 for one in needed]),
        failed_85=sum(one.failed_85 for one in needed),
        failed_90=sum(one.failed_90 for one in needed),
    )


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean as a Python float, which JSON can hold."""
    return float(np.mean(values))


def group(rows: Sequence[Row], key: Callable[[Row], K]) -> dict[K, list[Row]]:
    """Group rows by a key; groups are sorted by their key."""
    groups: dict[K, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(sorted(groups.items()))


def parts(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, Part]:
    """Mean IoU and number of objects of each group of rows."""
    return {name: Part(mean([row.iou for row in kept]), len(kept)) for name, kept in group(rows, key).items()}


def calibrate(rows: Sequence[Row]) -> Calibration | None:
    """Calibration of the model's scores over the three masks of each click; None without the protocol `click`."""
    clicks = [row.candidates for row in rows if row.candidates is not None]
    if not clicks:
        return None
    chosen = [int(np.argmax(click.scores)) for click in clicks]
    best = [int(np.argmax(click.ious)) for click in clicks]
    return Calibration(
        best_scored_is_best=mean([a == b for a, b in zip(chosen, best, strict=True)]),
        mean_iou_of_best_scored=mean([click.ious[i] for click, i in zip(clicks, chosen, strict=True)]),
        mean_iou_of_best=mean([max(click.ious) for click in clicks]),
        bins=calibration([s for click in clicks for s in click.scores], [v for click in clicks for v in click.ious]),
    )


def write(report: Report, path: Path, outputs: Outputs = DEFAULT) -> list[Path]:
    """Write the report as JSON, and its tables as Markdown beside it; returns both paths.

    Raises:
        OutputError: another's file is there; nothing is written.
    """
    markdown = path.with_suffix(".md")
    outputs.check(path)
    outputs.remove(markdown)  # first, so that a kill leaves no tables of another report
    save_json(report.to_dict(), path, outputs, indent=1)
    save_text(f"{to_markdown(report)}\n<!-- {MARK} -->\n", markdown, outputs)
    return [path, markdown]


def read_report(path: Path) -> Report:
    """Read a report that `write` wrote, in the current or an earlier format.

    Raises:
        DataError: the file cannot be read or is not a report.
    """
    try:
        record: Any = parse_json(path.read_bytes())
        return Report.from_dict(record)
    except OSError as error:
        raise DataError(f"the report '{path}' cannot be read: {error.strerror or error}") from error
    except MALFORMED as error:
        raise DataError(f"'{path}' is not a report of `mobilesam evaluate run` ({reason(error)})") from error
