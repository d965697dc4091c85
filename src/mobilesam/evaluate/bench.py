"""Measures exported models on this machine: time, memory, size and agreement of every format and precision.

Each model runs in a process of its own, one after the other and several times in turn, so that a busy minute of the
machine does not fall on one of them alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np

from mobilesam import contract
from mobilesam.choices import ExportFormat, StoredPrecision
from mobilesam.errors import MissingExtraError, MobileSamError, ModelError, SettingsError
from mobilesam.extras import is_installed
from mobilesam.integrity import read_card

BACKENDS: dict[str, str] = {"onnx": "onnx", "sam": "onnx", "anylabeling": "onnx", "hub": "onnx", "ort": "onnx"}
"""Format → the backend that runs it, where the names differ."""
NOT_RUN = ("coreml", "sam", "anylabeling", "hub")
"""Formats that no backend runs here, or whose pair is that of `onnx`."""
CHILD = "mobilesam.evaluate.bench_child"


@dataclass(frozen=True)
class Measured:
    """One model in one format and precision, on one backend."""

    model: str
    form: str
    precision: str
    backend: str
    megabytes: float
    """Of the files, without model.json and decoder_many.onnx, which clients may leave out."""
    encode_ms: float
    encode_p95_ms: float
    click_ms: float
    click_p95_ms: float
    cold_ms: float
    """Opening the files, encoding a photo and one click."""
    peak_mb: float
    """Peak memory of the process."""
    iou: float | None
    """Mean mask IoU with float32, measured at export; 1 where the files were compared number by number."""


@dataclass(frozen=True)
class Subject:
    """A folder to measure, and the backend to run it on."""

    model: str
    folder: Path
    backend: str
    precision: str = ""
    """Replaces what model.json says, where the backend computes in another precision."""


def subjects(
    models: Sequence[str], scratch: Path, smoke: bool = False, forms: Sequence[str] = ()
) -> tuple[list[Subject], list[str]]:
    """Export models to every installed format and precision; exported folders are taken as they are.

    Args:
        models: names, checkpoints or exported folders.
        scratch: folder for the exports.
        smoke: two exports only, or one of each of `forms`.
        forms: only these formats; none: all.

    Returns:
        What can be measured, and a sentence for each combination that cannot.

    Raises:
        SettingsError: a format is unknown, or nothing here runs it.
    """
    for form in forms:
        if form not in get_args(ExportFormat) or form in NOT_RUN:
            known = [name for name in get_args(ExportFormat) if name not in NOT_RUN]
            raise SettingsError(f"format '{form}' cannot be measured; these can: {', '.join(known)}")
    found: list[Subject] = []
    missing: list[str] = []
    for i, model in enumerate(models):
        if Path(model).is_dir() and read_card(model):
            card = read_card(model)
            form, precision = card.get(contract.FORMAT, "onnx"), card.get(contract.PRECISION, "float32")
            found += _on_backends(Path(model).name, Path(model), str(form), str(precision))
        else:
            for subject in _exports(model, scratch / str(i), smoke, forms):
                if isinstance(subject, str):
                    missing.append(subject)
                else:
                    found.append(subject)
    return found, missing


def run_all(found: Sequence[Subject], photo: Path, rounds: int, repeats: int) -> list[Measured]:
    """Measure several subjects in turn, and join their rounds.

    Raises:
        ModelError: a process failed; says what it printed.
    """
    samples: dict[int, list[dict[str, list[float]]]] = {i: [] for i in range(len(found))}
    for _ in range(rounds):
        for i, subject in enumerate(found):
            samples[i].append(_run(subject, photo, repeats))
    return [_joined(subject, samples[i]) for i, subject in enumerate(found)]


def table(rows: Sequence[Measured]) -> str:
    """Rows as a Markdown table."""
    head = ("model", "format", "precision", "backend", "MB", "encode ms (p95)", "click ms (p95)", "cold ms", "peak MB")
    lines = ["| " + " | ".join((*head, "mask IoU")) + " |", "|" + " --- |" * (len(head) + 1)]
    for row in rows:
        cells = [row.model, row.form, row.precision, row.backend, f"{row.megabytes:.1f}"]
        cells += [f"{row.encode_ms:.1f} ({row.encode_p95_ms:.1f})", f"{row.click_ms:.1f} ({row.click_p95_ms:.1f})"]
        cells += [f"{row.cold_ms:.0f}", f"{row.peak_mb:.0f}", "-" if row.iou is None else f"{row.iou:.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def as_records(rows: Sequence[Measured]) -> list[dict[str, object]]:
    """Rows for JSON."""
    return [asdict(row) for row in rows]


def _exports(model: str, folder: Path, smoke: bool, forms: Sequence[str]) -> Iterator[Subject | str]:
    """Export one model to everything that is installed."""
    from mobilesam.export.draft import Check
    from mobilesam.export.formats import FORMATS, export_as
    from mobilesam.model import checkpoint
    from mobilesam.weights import find_checkpoint

    source = find_checkpoint(model)
    wanted = [name for name in FORMATS if name not in NOT_RUN and name in (forms or FORMATS)]
    pairs: list[tuple[ExportFormat, StoredPrecision]]
    pairs = [(name, precision) for name in wanted for precision in FORMATS[name].precisions]
    if smoke:
        pairs = [(name, "float32") for name in wanted] if forms else [("onnx", "float32"), ("onnx", "mixed")]
    for name, precision in pairs:
        target = folder / f"{name}-{precision}"
        try:
            sam = checkpoint.load(source)
            export_as(sam, target, name, licence="unknown", precision=precision, check=Check(force=True))
        except (MissingExtraError, ModuleNotFoundError) as error:
            yield f"{name} {precision}: not measured: {error}"
        except MobileSamError as error:
            yield f"{name} {precision}: not exported: {error}"
        else:
            yield from _on_backends(model, target, name, precision)


def _on_backends(model: str, folder: Path, form: str, precision: str) -> Iterator[Subject]:
    """The backends that run a folder."""
    yield Subject(model, folder, BACKENDS.get(form, form))
    if form == "onnx" and precision == "float32" and is_installed("openvino"):
        yield Subject(model, folder, "openvino")
        yield Subject(model, folder, "openvino", "bfloat16")


def _run(subject: Subject, photo: Path, repeats: int) -> dict[str, list[float]]:
    words = [str(subject.folder), subject.backend, subject.precision or "float32", str(photo), str(repeats)]
    done = subprocess.run([sys.executable, "-m", CHILD, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"{subject.folder} could not be measured on {subject.backend}: {last}")
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _joined(subject: Subject, rounds: Sequence[dict[str, list[float]]]) -> Measured:
    card = read_card(subject.folder)
    encode, click = (np.array([v for part in rounds for v in part[key]]) for key in ("encode", "click"))
    masks = card.get("masks")
    exact = 1.0 if card.get(contract.PRECISION, "float32") == "float32" else None
    left_out = (contract.CARD_FILE, contract.MANY_FILE)
    files = [path for path in subject.folder.rglob("*") if path.is_file() and path.name not in left_out]
    row = Measured(
        model=subject.model,
        form=str(card.get(contract.FORMAT, "onnx")),
        precision=str(card.get(contract.PRECISION, "float32")),
        backend=subject.backend,
        megabytes=sum(file.stat().st_size for file in files) / 1e6,
        encode_ms=float(np.median(encode)),
        encode_p95_ms=float(np.percentile(encode, 95)),
        click_ms=float(np.median(click)),
        click_p95_ms=float(np.percentile(click, 95)),
        cold_ms=median(part["cold"][0] for part in rounds),
        peak_mb=max(part["peak_mb"][0] for part in rounds),
        iou=float(masks["iou"]) if isinstance(masks, dict) else exact,
    )
    return replace(row, precision=subject.precision, iou=None) if subject.precision else row
