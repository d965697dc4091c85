"""Rows → a report: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.errors import DataError
from mobilesam.evaluate.everything import LIMITS
from mobilesam.evaluate.metrics import bootstrap, calibration
from mobilesam.evaluate.protocols import TWO_POINT_DISTANCES
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.files import replacing
from mobilesam.predict.backend import ModelInfo

Row = dict[str, Any]
FORMAT = "mobilesam-evaluate-1"


def build(
    settings: EvaluateSettings, model: ModelInfo, results: Sequence[dict[str, Any]], memory_mb: float
) -> dict[str, Any]:
    """Everything one evaluation has to say.

    What a second run repeats to the digit stands outside `run`; time, memory and machine stand inside it.
    """
    rows = [row for result in results for row in result["rows"]]
    problems = [problem for result in results for problem in result["problems"]]
    seconds = [result["seconds"] for result in results if result["seconds"]]
    return {
        "format": FORMAT,
        "settings": asdict(settings),
        "model": asdict(model),
        "counts": {
            "photos": sum(bool(result["seconds"]) for result in results),
            "objects": len({row["object"] for row in rows}),
            "left_out": sum(result["left_out"] for result in results),
            "problems": len(problems),
        },
        "problems": problems,
        "summary": {p: summarise([row for row in rows if row["protocol"] == p]) for p in settings.per_object},
        "everything": summarise_everything(results),
        "calibration": calibrate([row for row in rows if row["protocol"] == "click"]),
        "run": {
            "median_seconds_of_everything": median_everything(results),
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()} | {p: version(p) for p in ("mobilesam", "onnxruntime")},
            "median_seconds_of_one_click": medians(seconds),
            "peak_memory_mb": round(memory_mb),
        },
        "rows": rows,
    }


def summarise_everything(results: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Average recall over the photos that have objects, with intervals; masks and prompts of a photo."""
    found = {r["name"]: r["everything"] for r in results if r.get("everything", {}).get("num_objects")}
    if not found:
        return None
    summary: dict[str, Any] = {"num_photos": len(found)}
    for key in (f"ar_{limit}" for limit in LIMITS):
        values = [row[key] for row in found.values()]
        low, high = bootstrap(values, list(found))
        summary[key] = {"mean": mean(values), "low": low, "high": high}
    for key in ("num_masks", "num_prompts"):
        summary[f"mean_{key}"] = mean([row[key] for row in found.values()])
    return summary


def median_everything(results: Sequence[dict[str, Any]]) -> float | None:
    """Seconds for all masks of a photo."""
    seconds = [r["everything"]["seconds"] for r in results if "everything" in r]
    return float(np.median(seconds)) if seconds else None


def medians(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median of each part."""
    return {part: float(np.median([s[part] for s in seconds])) for part in seconds[0]} if seconds else {}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """The numbers of one protocol."""
    if not rows:
        return {"num_objects": 0}
    ious, photos = [row["iou"] for row in rows], [row["photo"] for row in rows]
    low, high = bootstrap(ious, photos)
    by_photo = group(rows, lambda row: row["photo"])
    summary: dict[str, Any] = {
        "num_objects": len(rows),
        "mean_iou": mean(ious),
        "low": low,
        "high": high,
        "mean_iou_over_photos": mean([mean([r["iou"] for r in kept]) for kept in by_photo.values()]),
        "boundary_iou": mean([row["boundary_iou"] for row in rows]),
        "components": mean([row["components"] for row in rows]),
        "by_size": {size: brief(kept) for size, kept in group(rows, lambda row: row["size"]).items()},
        "by_source": {source: brief(kept) for source, kept in group(rows, lambda row: row["source"]).items()},
    }
    for key in ("noc_85", "noc_90"):
        if key in rows[0]:
            summary[key] = mean([row[key] for row in rows])
    for key in ("failed_85", "failed_90"):
        if key in rows[0]:
            summary[key] = sum(row[key] for row in rows)
    for key in (f"iou_{distance}" for distance in TWO_POINT_DISTANCES):
        values = [row[key] for row in rows if key in row]
        if values:
            summary[key] = {"mean_iou": mean(values), "num_objects": len(values)}
    return summary


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return float(np.mean(values))


def brief(rows: Sequence[Row]) -> dict[str, float]:
    """Mean and count of a part of the rows."""
    return {"mean_iou": mean([row["iou"] for row in rows]), "num_objects": len(rows)}


def group(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows under their key, keys sorted."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(sorted(groups.items()))


def calibrate(rows: Sequence[Row]) -> dict[str, Any] | None:
    """How far the model's own scores can be trusted, from the three masks of each click."""
    if not rows:
        return None
    chosen = [int(np.argmax(row["scores"])) for row in rows]
    best = [int(np.argmax(row["ious"])) for row in rows]
    return {
        "best_scored_is_best": mean([a == b for a, b in zip(chosen, best, strict=True)]),
        "mean_iou_of_best_scored": mean([row["ious"][i] for row, i in zip(rows, chosen, strict=True)]),
        "mean_iou_of_best": mean([max(row["ious"]) for row in rows]),
        "bins": calibration([s for row in rows for s in row["scores"]], [v for row in rows for v in row["ious"]]),
    }


def to_markdown(report: dict[str, Any]) -> str:
    """The tables of a report."""
    model, counts = report["model"], report["counts"]
    lines = [
        f"`{model['name']}` {model['weights_sha256'][:12]}, {counts['photos']} photos, {counts['objects']} objects, "
        f"{counts['left_out']} left out, {counts['problems']} problems",
        "",
        "| protocol | objects | mean IoU | 95 % | over photos | boundary IoU | pieces | S | M | L |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, summary in report["summary"].items():
        if summary["num_objects"]:
            lines.append(_row(name, summary))
    lines += everything_table(report) + noc_table(report) + source_table(report) + calibration_table(report)
    return "\n".join(lines) + "\n"


def _row(name: str, summary: dict[str, Any]) -> str:
    sizes = (summary["by_size"].get(size) for size in "SML")
    cells = [
        name,
        str(summary["num_objects"]),
        f"{summary['mean_iou']:.3f}",
        f"{summary['low']:.3f}-{summary['high']:.3f}",
        f"{summary['mean_iou_over_photos']:.3f}",
        f"{summary['boundary_iou']:.3f}",
        f"{summary['components']:.1f}",
        *(f"{size['mean_iou']:.3f}" if size else "" for size in sizes),
    ]
    return f"| {' | '.join(cells)} |"


def everything_table(report: dict[str, Any]) -> list[str]:
    """Average recall of all masks."""
    summary = report["everything"]
    if summary is None:
        return []
    cells = [f"{v['mean']:.3f} ({v['low']:.3f}-{v['high']:.3f})" for v in (summary[f"ar_{n}"] for n in LIMITS)]
    head = [f"AR@{limit}" for limit in LIMITS]
    lines = ["", f"| everything: photos | prompts a photo | masks | {' | '.join(head)} |", "|---|---|---|---|---|---|"]
    counts = f"{summary['mean_num_prompts']:.0f} | {summary['mean_num_masks']:.1f}"
    return [*lines, f"| {summary['num_photos']} | {counts} | {' | '.join(cells)} |"]


def noc_table(report: dict[str, Any]) -> list[str]:
    """Clicks needed."""
    summary = report["summary"].get("noc", {})
    if not summary.get("num_objects"):
        return []
    cells = [
        f"{summary['noc_85']:.2f}",
        str(summary["failed_85"]),
        f"{summary['noc_90']:.2f}",
        str(summary["failed_90"]),
    ]
    head = "| NoC@85 | failed | NoC@90 | failed |\n|---|---|---|---|"
    return ["", head, f"| {' | '.join(cells)} |"]


def source_table(report: dict[str, Any]) -> list[str]:
    """Mean IoU by source."""
    sources = sorted({s for summary in report["summary"].values() for s in summary.get("by_source", {})})
    if len(sources) < 2:
        return []
    lines = ["", f"| protocol | {' | '.join(sources)} |", "|---" * (1 + len(sources)) + "|"]
    for name, summary in report["summary"].items():
        parts = [summary.get("by_source", {}).get(source) for source in sources]
        cells = [f"{part['mean_iou']:.3f} ({part['num_objects']})" if part else "" for part in parts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def calibration_table(report: dict[str, Any]) -> list[str]:
    """Predicted against true IoU."""
    data = report["calibration"]
    if data is None:
        return []
    share = 100 * data["best_scored_is_best"]
    chosen, best = data["mean_iou_of_best_scored"], data["mean_iou_of_best"]
    lines = [
        "",
        f"The best-scored of three masks is the best by IoU in {share:.0f} % of clicks. "
        f"Mean IoU of the best-scored: {chosen:.3f}; of the best: {best:.3f}.",
        "",
        "| score | masks | mean score | mean IoU |",
        "|---|---|---|---|",
    ]
    for row in data["bins"]:
        tenth = f"{row['from']:.1f}-{row['to']:.1f}"
        lines.append(f"| {tenth} | {row['count']} | {row['mean_score']:.3f} | {row['mean_iou']:.3f} |")
    return lines


def write(report: dict[str, Any], path: Path) -> list[Path]:
    """The report as JSON, and its tables as Markdown beside it."""
    markdown = path.with_suffix(".md")
    with replacing(path) as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with replacing(markdown) as partial:
        partial.write_text(to_markdown(report), encoding="utf-8")
    return [path, markdown]


def read_report(path: Path) -> dict[str, Any]:
    """A report written by `write`.

    Raises:
        DataError: it is something else.
    """
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' is not a report ({error})") from error
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise DataError(f"'{path}' is not a report of `mobilesam evaluate`")
    return report


def compare(a: dict[str, Any], b: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Two reports, object by object: the mean difference B - A and its 95 % interval over photos.

    Raises:
        DataError: they share no object of any protocol.
    """
    ours, theirs = ({(r["protocol"], r["photo"], r["object"]): r["iou"] for r in x["rows"]} for x in (a, b))
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise DataError("the two reports share no object; compare runs over the same data and protocols")
    result = {}
    for protocol in dict.fromkeys(key[0] for key in shared):
        keys = [key for key in shared if key[0] == protocol]
        differences = [theirs[key] - ours[key] for key in keys]
        low, high = bootstrap(differences, [key[1] for key in keys])
        result[protocol] = {
            "num_objects": len(keys),
            "a": mean([ours[key] for key in keys]),
            "b": mean([theirs[key] for key in keys]),
            "difference": mean(differences),
            "low": low,
            "high": high,
        }
    return result


def compare_markdown(result: dict[str, dict[str, float]]) -> str:
    """The table of a comparison."""
    lines = ["| protocol | objects | A | B | B - A | 95 % |", "|---|---|---|---|---|---|"]
    for name, row in result.items():
        interval = f"{row['low']:+.3f} to {row['high']:+.3f}"
        cells = (name, row["num_objects"], f"{row['a']:.3f}", f"{row['b']:.3f}", f"{row['difference']:+.3f}", interval)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
