"""Measures exported models on this machine: time, memory, size and agreement of every format and precision.

Each model runs in a process of its own, one after the other and several times in turn, so that a busy minute of the
machine does not fall on one of them alone. What each takes is also given as a ratio to onnxruntime in float32, round by
round: formats that need environments of their own are compared by it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import numpy as np

from mobilesam import processor
from mobilesam.errors import ModelError
from mobilesam.evaluate.bench_exports import Subject

CHILD = "mobilesam.evaluate.bench_child"
PACKAGES = ("onnxruntime", "openvino", "torch", "litert-torch", "ai-edge-litert", "executorch", "coremltools")
Round = dict[str, list[float]]
"""Milliseconds under "cold", "encode" and "click", megabytes under "peak_mb"."""


@dataclass(frozen=True)
class Measured:
    """One model in one format and precision, on one backend; times and memory are None if nothing here runs it."""

    model: str
    form: str
    precision: str
    backend: str
    megabytes: float
    error: float | None
    iou: float | None
    encode_ms: float | None = None
    encode_p95_ms: float | None = None
    encode_ratio: float | None = None
    """To onnxruntime in float32, the median over the rounds; so are the other ratios."""
    click_ms: float | None = None
    click_p95_ms: float | None = None
    click_ratio: float | None = None
    cold_ms: float | None = None
    """Opening the files, encoding a photo and one click."""
    cold_ratio: float | None = None
    peak_mb: float | None = None
    """Peak memory of the process."""


def run_all(found: Sequence[Subject], photo: Path, rounds: int, repeats: int, threads: int) -> list[Measured]:
    """Measure several subjects in turn, and join their rounds.

    Raises:
        ModelError: a process failed; says what it printed.
    """
    samples: list[list[Round]] = [[] for _ in found]
    for _ in range(rounds):
        for subject, rows in zip(found, samples, strict=True):
            if subject.backend:
                rows.append(_run(subject, photo, repeats, threads))
    bases = {subject.model: rows for subject, rows in zip(found, samples, strict=True) if subject.is_reference}
    return [_joined(subject, rows, bases.get(subject.model)) for subject, rows in zip(found, samples, strict=True)]


def table(rows: Sequence[Measured]) -> str:
    """Rows as a Markdown table; in brackets the ratio to onnxruntime in float32."""
    head = ("model", "format", "precision", "backend", "MB", "error", "mask IoU")
    lines = ["| " + " | ".join((*head, "encode ms", "click ms", "cold ms", "peak MB")) + " |", "|" + " --- |" * 11]
    for row in rows:
        cells = [row.model, row.form, row.precision, row.backend or "-", f"{row.megabytes:.1f}"]
        cells += ["-" if row.error is None else f"{row.error:.1e}", "-" if row.iou is None else f"{row.iou:.4f}"]
        for ms, ratio, digits in (
            (row.encode_ms, row.encode_ratio, 1),
            (row.click_ms, row.click_ratio, 1),
            (row.cold_ms, row.cold_ratio, 0),
        ):
            beside = "" if ratio is None else f" ({ratio:.2f})"
            cells.append("-" if ms is None else f"{ms:.{digits}f}{beside}")
        cells.append("-" if row.peak_mb is None else f"{row.peak_mb:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def as_records(rows: Sequence[Measured]) -> list[dict[str, object]]:
    """Rows for JSON."""
    return [asdict(row) for row in rows]


def machine(threads: int) -> dict[str, object]:
    """Day, processor, threads and versions of a run, for JSON."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    where = {"date": str(date.today()), "processor": processor.describe(), "cores": os.cpu_count(), "threads": threads}
    return {**where, "python": platform.python_version(), "versions": versions}


def _run(subject: Subject, photo: Path, repeats: int, threads: int) -> Round:
    words = [str(subject.folder), subject.backend, subject.computed or "float32", str(photo), str(repeats)]
    command = [sys.executable, "-m", CHILD, *words, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{subject.folder} could not be measured on {subject.backend}: {last}")
    found: Round = json.loads(done.stdout.splitlines()[-1])
    return found


def _joined(subject: Subject, rounds: Sequence[Round], base: Sequence[Round] | None) -> Measured:
    row = Measured(
        subject.model,
        subject.form,
        subject.computed or subject.stored,
        subject.backend,
        subject.megabytes,
        subject.error,
        subject.iou,
    )
    if not rounds:
        return row
    found: dict[str, float] = {"peak_mb": max(part["peak_mb"][0] for part in rounds)}
    for key in ("encode", "click", "cold"):
        values = [value for part in rounds for value in part[key]]
        found[f"{key}_ms"] = median(values)
        if key != "cold":
            found[f"{key}_p95_ms"] = float(np.percentile(values, 95))
        if base:
            ratios = [median(ours[key]) / median(theirs[key]) for ours, theirs in zip(rounds, base, strict=True)]
            found[f"{key}_ratio"] = median(ratios)
    return Measured(**{**asdict(row), **found})
