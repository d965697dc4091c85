from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mobilesam.train.log import read_history
from mobilesam.train.report import to_series
from tests.helpers.training import recipe, train


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step}) for step in (2, 3, 4, 5)]
    (tmp_path / "history.jsonl").write_text("\n".join(lines) + '\n{"step": 6, "lo')
    assert [line["step"] for line in read_history(tmp_path, before=4)] == [2, 3, 4]
    assert [json.loads(t)["step"] for t in (tmp_path / "history.jsonl").read_text().splitlines()] == [2, 3, 4]


def test_a_run_leaves_a_report_with_curves_pictures_and_its_recipe(shard: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    quiet = recipe(shard, run, steps=4)
    train(replace(quiet, run=replace(quiet.run, report=True)))
    page = (run / "report.md").read_text()
    assert "11 photos" in page
    assert "| box_iou |" in page
    assert '"batch_size": 4' in page
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    pictures = sorted(p.name for p in (run / "pictures").glob("*.jpg"))
    assert pictures == ["0000000.jpg", "0000004.jpg"]
    assert all(f"pictures/{name}" in page for name in pictures)


def test_a_history_becomes_one_series_per_number() -> None:
    lines = [{"step": 1, "photos": 8, "loss": 3.0}, {"step": 2, "photos": 16, "loss": 2.0, "lr": 0.1}]
    assert to_series(lines, "photos") == {"loss": [(8, 3.0), (16, 2.0)], "lr": [(16, 0.1)]}


def test_lines_that_a_power_cut_or_another_program_left_are_dropped(tmp_path: Path) -> None:
    good = [b'{"step": 1, "loss": 2.0}', b'{"step": 2}']
    bad = [bytes(40), b"\xff\xfe", b'{"loss": 1.0}', b'{"step": "x"}', b"[]", b"3", b"[" * 100_000, b'{"step": null}']
    (tmp_path / "history.jsonl").write_bytes(b"\n".join([good[0], *bad, good[1]]) + b"\n")
    assert [line["step"] for line in read_history(tmp_path, before=9)] == [1, 2]
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
