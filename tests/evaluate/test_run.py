from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.cli import main
from mobilesam.errors import DataError, SettingsError
from mobilesam.evaluate import report
from mobilesam.evaluate.run import load_models, run
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings
from tests.helpers.scenes import add_member, draw_scene


@pytest.fixture
def settings(shard: Path) -> EvaluateSettings:
    return EvaluateSettings(
        data=(str(shard),), protocols=("box", "click", "noc"), backend="onnx", image_size=256, zoom=False
    )


def rows(results: list[dict]) -> list[dict]:
    return [row for result in results for row in result["rows"]]


def test_every_object_is_asked_once_per_protocol_and_the_photo_encoded_once(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilesam.predict.onnx import OnnxBackend

    calls = []
    encode = OnnxBackend.encode
    monkeypatch.setattr(OnnxBackend, "encode", lambda self, image: calls.append(1) or encode(self, image))
    results, memory = run(settings, tmp_path / "j")
    assert len(results) == len(calls) == 12
    assert len(rows(results)) == 12 * 2 * 3
    assert set(results[0]["seconds"]) == {"open", "encode", "prompt", "decode", "upscale"}
    assert memory > 50


def test_processes_and_a_second_run_give_the_same_digits(settings: EvaluateSettings, tmp_path: Path) -> None:
    alone, _ = run(settings, tmp_path / "a")
    again, _ = run(settings, tmp_path / "b")
    together, _ = run(settings, tmp_path / "c", workers=2)
    assert rows(alone) == rows(again) == rows(together)


KILLED = """
import os, signal, sys
from pathlib import Path
from mobilesam.evaluate.run import load_models, run
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings
seen = []
def lethal(result):
    seen.append(result)
    if len(seen) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
run(EvaluateSettings(data=({shard!r},), protocols=("box", "click", "noc")), Path({journal!r}), on_result=lethal)
"""


def test_a_killed_run_goes_on_where_it_stopped(settings: EvaluateSettings, shard: Path, tmp_path: Path) -> None:
    journal = tmp_path / "killed"
    code = KILLED.format(shard=str(shard), journal=str(journal))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    kept = journal.read_text().count("\n") - 1
    assert 4 <= kept <= 5
    with journal.open("a") as file:
        file.write('{"name": "cut o')  # as a kill in the middle of a line would leave it
    whole, _ = run(settings, tmp_path / "whole")
    resumed, _ = run(settings, journal)
    assert rows(resumed) == rows(whole)


def test_a_journal_of_other_settings_is_not_mixed_in(settings: EvaluateSettings, tmp_path: Path) -> None:
    run(replace(settings, protocols=("box",)), tmp_path / "j")
    results, _ = run(replace(settings, protocols=("click",)), tmp_path / "j")
    assert {row["protocol"] for row in rows(results)} == {"click"}


def test_second_looks_are_a_setting_of_the_run(settings: EvaluateSettings, tmp_path: Path) -> None:
    boxes_alone = replace(settings, protocols=("box",))
    off, _ = run(replace(boxes_alone, zoom=False), tmp_path / "j")
    on, memory = run(replace(boxes_alone, zoom=True), tmp_path / "j")  # the journal of the other is not taken
    ious = [[row["iou"] for row in rows(results)] for results in (off, on)]
    assert ious[0] != ious[1]
    built = report.build(replace(boxes_alone, zoom=True), model_info(), on, memory)
    assert built["settings"]["zoom"] is True
    assert built["model"]["zoom_below"] == model_info().zoom_below


def test_objects_are_chosen_by_area_and_the_rest_counted(settings: EvaluateSettings, tmp_path: Path) -> None:
    results, _ = run(replace(settings, protocols=("box",), max_objects=1), tmp_path / "j")
    assert [len(result["rows"]) for result in results] == [1] * 12
    assert {result["left_out"] for result in results} == {1}
    results, _ = run(replace(settings, protocols=("box",), min_area=10**6), tmp_path / "k")
    assert not rows(results)


def test_problems_are_named_and_counted(tmp_path: Path) -> None:
    rgb, objects = draw_scene(np.random.default_rng(0))
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG")
    wrong_size = {"id": 9, "segmentation": masks.to_rle(np.ones((5, 5), bool))}
    good = {"id": 1, "segmentation": masks.to_rle(objects[0])}
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, jpg, record in (
            ("good", buffer.getvalue(), {"annotations": [good, wrong_size]}),
            ("broken_photo", b"no photo", {"annotations": [good]}),
            ("broken_json", buffer.getvalue(), {}),
        ):
            add_member(tar, f"{name}.jpg", jpg)
            add_member(tar, f"{name}.json", json.dumps(record).encode())
    settings = EvaluateSettings(data=(str(tmp_path / "s.tar"),), protocols=("box",))
    results, memory = run(settings, tmp_path / "j")
    built = report.build(settings, model_info(), results, memory)
    assert [name for name, _ in built["problems"]] == ["good/9", "broken_photo", "broken_json"]
    assert built["counts"] == {"photos": 1, "objects": 1, "left_out": 0, "problems": 3}
    assert "5x5" in built["problems"][0][1]


def model_info():
    import mobilesam

    return mobilesam.load().info


def test_unknown_protocols_and_a_missing_teacher_are_refused() -> None:
    with pytest.raises(SettingsError, match="unknown protocol 'boxes'; known: box"):
        EvaluateSettings(data=("x",), protocols=("boxes",))
    with pytest.raises(SettingsError, match="--teacher"):
        EvaluateSettings(data=("x",), protocols=("teacher",))


def test_a_model_agrees_with_itself(settings: EvaluateSettings, tmp_path: Path) -> None:
    itself = replace(settings, protocols=("teacher",), teacher="embedded", image_size=None, zoom="auto")
    results, _ = run(itself, tmp_path / "j")
    assert {row["iou"] for row in rows(results)} == {1.0}


def cli(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["mobilesam", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_command_writes_report_tables_and_worst_cases(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    assert cli(monkeypatch, shard, "-p", "box", "-p", "click", "-p", "noc", "-o", out, "--save-worst", 2) == 0
    written = report.read_report(out)
    assert set(written["summary"]) == {"box", "click", "noc"}
    assert written["summary"]["box"]["num_objects"] == 24
    assert set(written["summary"]["box"]["by_source"]) == {"a", "b"}
    assert written["model"]["weights_sha256"] == model_info().weights_sha256
    table = out.with_suffix(".md").read_text()
    assert f"{written['summary']['click']['mean_iou']:.3f}" in table
    assert "NoC@85" in table
    assert "best-scored of three" in table
    pictures = sorted(p.name for p in (tmp_path / "r_worst").iterdir())
    assert pictures == [f"{p}_{i:02}.png" for p in ("box", "click", "noc") for i in (1, 2)]
    assert not (tmp_path / "r.json.journal").exists()

    assert cli(monkeypatch, "compare", out, out) == 0
    assert "+0.000 to +0.000" in capsys.readouterr().out
    assert cli(monkeypatch, "compare", out) == 2
    assert cli(monkeypatch, tmp_path / "none.tar") == 1


def test_compare_pairs_by_object_and_refuses_strangers() -> None:
    def fake(shift: float, photo: str = "p") -> dict:
        values = [{"protocol": "box", "photo": f"{photo}{i}", "object": str(i), "iou": 0.5 + shift} for i in range(9)]
        return {"rows": values}

    result = report.compare(fake(0), fake(0.1))["box"]
    assert result["difference"] == pytest.approx(0.1)
    assert (result["low"], result["high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    with pytest.raises(DataError, match="share no object"):
        report.compare(fake(0), fake(0, "q"))


def test_what_is_no_report_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="not a report of"):
        report.read_report(tmp_path / "x.json")
    assert os.listdir(tmp_path) == ["x.json"]


def test_everything_is_measured_per_photo_beside_the_protocols(settings: EvaluateSettings, tmp_path: Path) -> None:
    quick = EverythingSettings(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    both = replace(settings, protocols=("box", "everything"), everything=quick)
    results, memory = run(both, tmp_path / "j")
    assert len(rows(results)) == 12 * 2
    assert all(result["everything"]["num_masks"] >= 1 for result in results)
    assert {result["everything"]["num_prompts"] for result in results} == {quick.points_per_side**2}
    models = load_models(both)
    built = report.build(both, models.student.info, results, memory)
    summary = built["everything"]
    assert summary["num_photos"] == 12
    assert 0 <= summary["ar_10"]["mean"] <= summary["ar_100"]["mean"] <= summary["ar_1000"]["mean"] <= 1
    assert "| AR@10 | AR@100 | AR@1000 |" in report.to_markdown(built)
    assert json.loads(json.dumps(summary)) == summary


def test_a_setting_of_the_search_comes_from_the_command_line(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(*search: str) -> int:
        words = ["mobilesam", "evaluate", str(shard), "-p", "everything", "-o", "r.json", "--json"]
        monkeypatch.setattr(sys, "argv", [*words, *(w for s in search for w in ("--search", s))])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    assert call("points_per_side=2") == 0
    assert json.loads(Path("r.json").read_text())["settings"]["everything"]["points_per_side"] == 2
    assert call("points=2") == 2
    assert call("points_per_side=many") == 2
    capsys.readouterr()
