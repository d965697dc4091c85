"""scripts/draw_formats.py: joins what `mobilesam bench` measured in several environments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "scripts" / "draw_formats.py"


def row(form: str, encode: float, ratio: float, **others: Any) -> dict[str, Any]:
    """A row in which everything takes the same time."""
    times = {f"{part}_ms": encode for part in ("encode", "click", "cold")}
    ratios = {f"{part}_ratio": ratio for part in ("encode", "click", "cold")}
    known = {"model": "m", "form": form, "precision": "float32", "backend": form, "megabytes": 3.0}
    return {**known, "error": 1e-6, "iou": 0.99, "peak_mb": 100.0, **times, **ratios, **others}


def run(rows: list[dict[str, Any]], folder: Path, name: str) -> Path:
    """The file of one environment."""
    machine = {"date": "2026-01-02", "processor": "x86_64", "threads": 2, "cores": 2, "python": "3.11", "versions": {}}
    path = folder / name
    path.write_text(json.dumps({"machine": machine, "rows": rows, "missing": []}))
    return path


def call(files: list[Path], docs: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), *map(str, files), "--docs", str(docs)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_runs_of_several_environments_become_one_table_and_one_picture(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "results").mkdir()
    document = tmp_path / "results" / "formats.md"
    document.write_text("before\n<!-- bench m -->\nearlier rows\n<!-- end -->\nafter\n")
    none = {f"{part}_{unit}": None for part in ("encode", "click", "cold") for unit in ("ms", "ratio")}
    files = [
        run([row("onnx", 10.0, 1.0)], tmp_path, "main.json"),
        run([row("onnx", 30.0, 1.0), row("litert", 60.0, 2.0), row("coreml", 0, 0, backend="", **none, peak_mb=None)],
            tmp_path, "litert.json"),
    ]  # fmt: skip
    assert call(files, tmp_path).returncode == 0
    text = document.read_text()
    assert text.startswith("before\n<!-- bench m -->\n")
    assert text.endswith("\n<!-- end -->\nafter\n")
    assert "earlier rows" not in text
    assert text.count("| onnx | float32 | onnx |") == 1, "onnxruntime in float32 is part of every run"
    assert (
        "| litert | float32 | litert | 3.0 | 1.0e-06 | 0.9900 | 60.0 (2.00) | 60.0 (2.00) | 60.0 (2.00) | 100 |" in text
    )
    assert "| coreml | float32 | - | 3.0 | 1.0e-06 | 0.9900 | - | - | - | - |" in text
    assert "onnxruntime in float32 took 30.0 ms to encode" in text
    picture = (tmp_path / "images" / "formats-m.svg").read_text()
    assert "2 litert float32" in picture
    assert "coreml" not in picture, "it was not timed"
    assert call(files, tmp_path).returncode == 0
    assert document.read_text() == text


def test_a_document_without_a_place_for_the_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "formats.md").write_text("no marks")
    done = call([run([row("onnx", 10.0, 1.0)], tmp_path, "main.json")], tmp_path)
    assert done.returncode != 0
    assert "needs the marks '<!-- bench m -->'" in done.stderr
