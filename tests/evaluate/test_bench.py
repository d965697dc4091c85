"""`mobilesam bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilesam.evaluate.bench import Measured, table


@pytest.mark.torch
def test_a_model_is_exported_and_measured_in_processes_of_their_own(run, tiny_checkpoint: Path) -> None:
    code, out, err = run("bench", tiny_checkpoint, "--smoke", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    found = {(row["precision"], row["backend"]) for row in rows}
    assert {("float32", "onnx"), ("mixed", "onnx")} <= found
    for row in rows:
        assert 0 < row["click_ms"] <= row["click_p95_ms"]
        assert row["cold_ms"] > row["click_ms"]
        assert row["peak_mb"] > 20
    exact, mixed = (next(row for row in rows if row["precision"] == p) for p in ("float32", "mixed"))
    assert mixed["megabytes"] < exact["megabytes"]
    assert (exact["iou"], mixed["iou"] < 1) == (1, True)


@pytest.mark.torch
def test_the_formats_to_measure_can_be_chosen(run, tiny_checkpoint: Path) -> None:
    code, out, err = run("bench", tiny_checkpoint, "--format", "ort", "--smoke", "--json")
    assert code == 0, err
    assert [(row["form"], row["backend"]) for row in json.loads(out)["rows"]] == [("ort", "onnx")]


def test_a_format_that_nothing_runs_is_refused(run) -> None:
    code, _, err = run("bench", "--format", "coreml")
    assert code != 0
    assert "format 'coreml' cannot be measured; these can: onnx, ort" in " ".join(err.split())


@pytest.mark.torch
def test_a_format_that_is_not_installed_is_named(run, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None if "litert" in name else object())
    code, out, _ = run("bench", tiny_checkpoint, "--format", "litert", "--smoke", "--json")
    assert code == 0
    assert json.loads(out)["rows"] == []
    assert "litert float32: not measured" in json.loads(out)["missing"][0]


@pytest.mark.torch
def test_an_exported_folder_is_measured_as_it_is(run, tiny_pair: Path) -> None:
    code, out, err = run("bench", tiny_pair, "--smoke")
    assert code == 0, err
    assert "| onnx | float32 | onnx |" in out


def test_the_table_says_what_was_not_measured() -> None:
    row = Measured("m", "onnx", "float32", "onnx", 1, 2, 3, 4, 5, 6, 7, None)
    assert table([row]).splitlines()[-1] == "| m | onnx | float32 | onnx | 1.0 | 2.0 (3.0) | 4.0 (5.0) | 6 | 7 | - |"
