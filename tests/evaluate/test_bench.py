"""`mobilesam bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilesam.evaluate.bench import Measured, run_all, table
from mobilesam.evaluate.bench_exports import Wanted, subjects


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
    assert exact["error"] < 1e-4 < mixed["error"]


@pytest.mark.torch
def test_a_chosen_format_is_measured_beside_onnxruntime_in_float32_with_times_as_ratios_to_it(
    run, tiny_checkpoint: Path
) -> None:
    code, out, err = run("bench", tiny_checkpoint, "--format", "ort", "--smoke", "--threads", "1", "--json")
    assert code == 0, err
    found = json.loads(out)
    reference, row = [r for r in found["rows"] if r["backend"] == "onnx"]  # and no other format
    assert (reference["form"], reference["precision"], row["precision"]) == ("onnx", "float32", "float32")
    assert [reference[f"{part}_ratio"] for part in ("encode", "click", "cold")] == [1, 1, 1]
    assert row["form"] == "ort"
    assert row["click_ratio"] == pytest.approx(row["click_ms"] / reference["click_ms"])
    assert row["encode_ratio"] == pytest.approx(row["encode_ms"] / reference["encode_ms"])
    assert found["machine"]["threads"] == 1
    assert "onnxruntime" in found["machine"]["versions"]


@pytest.mark.torch
@pytest.mark.parametrize("can", [True, False])
def test_bfloat16_is_a_row_where_the_processor_has_it_and_a_sentence_elsewhere(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr("mobilesam.predict.openvino.has_bfloat16", lambda: can)
    found, missing = subjects([str(tiny_checkpoint)] * 2, tmp_path, Wanted(("onnx",), ("float32",)))
    assert [row.computed for row in found if row.backend == "openvino"] == ["", "bfloat16"][: 1 + can] * 2
    sentence = "openvino bfloat16: not measured: this processor does not compute in it"
    assert missing.count(sentence) == 1 - can


def test_a_format_that_nothing_here_runs_is_a_row_of_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "encoder.mlpackage").mkdir()
    (tmp_path / "encoder.mlpackage" / "weights").write_bytes(bytes(2_000_000))
    (tmp_path / "model.json").write_text('{"format": "coreml", "precision": "float16"}')
    found, missing = subjects([str(tmp_path)], tmp_path / "scratch", Wanted())
    (row,) = run_all(found, tmp_path / "no photo is opened", 1, 1, 1)
    assert not missing
    assert (row.form, row.precision, row.megabytes, row.iou) == ("coreml", "float16", 2.0, None)
    assert (row.encode_ms, row.click_ms, row.cold_ms, row.peak_mb) == (None, None, None, None)
    assert table([row]).splitlines()[-1].endswith("| coreml | float16 | - | 2.0 | - | - | - | - | - | - |")


def test_coreml_is_run_on_macos_and_its_threads_are_said_to_be_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.json").write_text('{"format": "coreml", "precision": "float16"}')
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    (subject,), notes = subjects([str(tmp_path)], tmp_path / "scratch", Wanted())
    assert subject.backend == "coreml"
    assert notes == ["coreml: CoreML chooses its number of threads itself; --threads is not for its rows"]


def test_precisions_to_measure_can_be_chosen() -> None:
    pytest.importorskip("onnx")
    pairs = Wanted(forms=("onnx", "ort"), precisions=("float16", "mixed")).pairs()
    assert pairs == [("onnx", "float32"), ("onnx", "float16"), ("onnx", "mixed"), ("ort", "float16")]


def test_a_precision_that_does_not_exist_is_refused(run) -> None:
    code, _, err = run("bench", "--precision", "flot16")
    assert code != 0
    assert "unknown precision 'flot16'; did you mean 'float16'? known: float32, float16" in " ".join(err.split())


@pytest.mark.torch
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--smoke", "--rounds", "3"), "--smoke measures one photo in one round"),
        (("--smoke", "--repeats", "10"), "--smoke measures one photo in one round"),
        (("--smoke", "--precision", "float16"), "'precisions' (--precision) does nothing in a smoke run"),
        (("--format", "ort", "--precision", "mixed"), "format 'ort' has the precisions float32, float16, int8-weights"),
        (("--format", "onnx", "--format", "ort", "--precision", "mixed"), "format 'ort' has the precisions float32"),
        (
            ("--format", "ort", "--precision", "float16", "--precision", "int8"),
            "no format of ort has the precision 'int8'; leave it out",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(run, words: tuple[str, ...], message: str) -> None:
    code, _, err = run("bench", *words)
    assert code == 2
    assert message in " ".join(err.split())


def test_what_to_export_is_refused_where_nothing_is_exported(run, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"format": "coreml", "precision": "float16"}')
    for words in (("--format", "onnx"), ("--precision", "float32")):
        code, _, err = run("bench", tmp_path, *words)
        assert code == 2
        assert "a FOLDER is measured as it is" in " ".join(err.split())


def test_a_format_that_nothing_runs_is_refused(run) -> None:
    code, _, err = run("bench", "--format", "sam")
    assert code != 0
    said = " ".join(err.split())
    assert "format 'sam' cannot be measured: its pair is that of onnx, which has a row; these can: onnx, ort" in said


@pytest.mark.torch
def test_a_format_that_is_not_installed_is_named(run, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilesam.extras.find_spec", lambda name: None if "litert" in name else object())
    code, out, _ = run("bench", tiny_checkpoint, "--format", "litert", "--smoke", "--json")
    assert code == 0
    assert {row["form"] for row in json.loads(out)["rows"]} == {"onnx"}
    assert "litert float32: not measured" in json.loads(out)["missing"][0]


@pytest.mark.torch
def test_an_exported_folder_is_measured_as_it_is(run, tiny_pair: Path) -> None:
    code, out, err = run("bench", tiny_pair, "--smoke")
    assert code == 0, err
    row = next(line for line in out.splitlines() if "| onnx | float32 | onnx |" in line).split("|")
    assert 0 < float(row[6]) < 1e-4, "the error that was measured at its export"


def test_the_table_says_what_was_not_measured() -> None:
    row = Measured("m", "onnx", "int8", "onnx", 1, None, 0.5, encode_ms=2, encode_ratio=3, click_ms=4, peak_mb=7)
    assert table([row]).splitlines()[-1] == "| m | onnx | int8 | onnx | 1.0 | - | 0.5000 | 2.0 (3.00) | 4.0 | - | 7 |"
