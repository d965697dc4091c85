from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mobilesam
from mobilesam.data.photo import PhotoId, Problem
from mobilesam.errors import DataError
from mobilesam.evaluate.compare import compare
from mobilesam.evaluate.markdown import to_markdown
from mobilesam.evaluate.records import Candidates, ClicksNeeded, EvaluatedPhoto, Row, Search
from mobilesam.evaluate.report import build, read_report, summarise, write
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.evaluate.summaries import MeanClicks, Part, Report
from tests.helpers.stored import opened

PLAIN = Row(
    protocol="box",
    photo=PhotoId("one", "a"),
    object="a/1",
    source="s",
    iou=0.5,
    boundary_iou=0.25,
    components=2,
    area=2000,
    size="M",
    score=0.75,
    points=((1, 2), (3, 4)),
    labels=(1, 0),
    box=(1.5, 2.0, 3.0, 4.0),
)
CLICK = replace(PLAIN, protocol="click", candidates=Candidates((0.9, 0.5, 0.1), (0.8, 1.0, 0.3)))
NOC = replace(PLAIN, protocol="noc", clicks_needed=ClicksNeeded(3, 20, False, True))
TWO_POINT = replace(PLAIN, protocol="two-point", score=None, iou_by_distance={100: 0.25, 300: 0.75})
ROWS = (PLAIN, CLICK, NOC, TWO_POINT)
SETTINGS = EvaluateSettings(
    data=("x",), protocols=("box", "click", "noc", "two-point", "teacher", "everything"), teacher="t"
)


FOUND = Search(4, 7, 9, 1.5, {10: 10, 100: 20, 1000: 40})


def make(*rows: Row, found: Search | None = FOUND) -> Report:
    results = [
        EvaluatedPhoto(photo=PhotoId("one", "a"), is_read=True, rows=rows, left_out=2, search=found),
        EvaluatedPhoto(photo=PhotoId("two", "b"), is_read=False, problems=(Problem(PhotoId("two", "b"), "torn"),)),
    ]
    return build(SETTINGS, mobilesam.load().backend, results, 100.4)


def in_format_1(report: Report) -> dict[str, Any]:
    """The same, as it was written before rows named their data set."""
    record = report.to_dict()
    record["format"] = "mobilesam-evaluate-1"
    record["problems"] = [[problem["photo"], problem["reason"]] for problem in record["problems"]]
    record["rows"] = [{key: row[key] for key in row if key != "dataset"} for row in record["rows"]]
    for summary in record["summary"].values():
        summary.pop("by_dataset", None)
    del record["everything"]["num_objects"]
    record["run"]["median_seconds_of_one_click"] = {"open": 0.1}
    return record


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    report = make(*ROWS)
    assert write(report, tmp_path / "r.json") == [tmp_path / "r.json", tmp_path / "r.md"]
    # JSON knows no tuples; settings and model are kept as it has them.
    expected = replace(report, settings=json.loads(json.dumps(report.settings)))
    # As text, because a protocol without rows has NaN, which equals itself inside dataclasses only before Python 3.13.
    assert repr(read_report(tmp_path / "r.json")) == repr(expected)


def test_a_report_names_the_runtime_that_was_chosen_and_how_the_model_is_stored(tmp_path: Path) -> None:
    assert SETTINGS.backend == "auto"
    run = build(SETTINGS, opened(tmp_path / "model", "int8").backend, [], 1.0).run
    assert (run.backend, run.precision, run.stored) == ("onnx", "float32", "onnx int8")
    assert list(run.versions) == ["python", "mobilesam", "onnxruntime"]
    about = to_markdown(replace(make(*ROWS), run=run)).splitlines()[0]
    assert ", stored as onnx int8, onnx, float32, 1 photos" in about


def test_a_report_of_torch_names_no_onnxruntime() -> None:
    class Torch:
        info = mobilesam.load().info
        precision = "bfloat16"

    Torch.__module__ = "mobilesam.model.backend"
    run = build(SETTINGS, Torch(), [], 1.0).run
    assert (run.backend, run.precision, run.stored) == ("torch", "bfloat16", "")
    assert "onnxruntime" not in run.versions


def test_rows_are_flat_and_name_their_data_set() -> None:
    assert [row["dataset"] for row in make(*ROWS).to_dict()["rows"]] == ["one"] * 4
    assert CLICK.to_dict()["scores"] == (0.9, 0.5, 0.1)
    assert NOC.to_dict()["noc_85"] == 3
    assert NOC.to_dict()["failed_90"] is True
    assert TWO_POINT.to_dict()["iou_300"] == 0.75
    assert not {"scores", "noc_85", "iou_100"} & PLAIN.to_dict().keys()


def test_reports_of_format_1_can_be_compared_with_todays(tmp_path: Path) -> None:
    old, new = make(*ROWS), make(*(replace(row, iou=row.iou + 0.25) for row in ROWS))
    (tmp_path / "old.json").write_text(json.dumps(in_format_1(old)))
    write(new, tmp_path / "new.json")
    read = read_report(tmp_path / "old.json")
    assert {row.photo for row in read.rows} == {PhotoId("", "a")}
    assert read.problems == (Problem(PhotoId("", "b"), "torn"),)
    differences = compare(read.rows, read_report(tmp_path / "new.json").rows)
    assert {name: one.difference for name, one in differences.items()} == dict.fromkeys(
        ("box", "click", "noc", "two-point"), 0.25
    )


def test_what_is_no_report_says_so(tmp_path: Path) -> None:
    for text in ("{}", "[]", "no json", '{"format": "mobilesam-evaluate-9"}', '{"format": "mobilesam-evaluate-2"}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataError, match="not a report of"):
            read_report(tmp_path / "x.json")
    assert os.listdir(tmp_path) == ["x.json"]


def test_objects_of_one_id_in_two_data_sets_are_two() -> None:
    report = make(PLAIN, replace(PLAIN, photo=PhotoId("two", "a"), iou=1.0), found=None)
    assert report.counts.objects == 2
    summary = report.summary["box"]
    assert summary.by_dataset == {"one": Part(0.5, 1), "two": Part(1.0, 1)}
    assert (summary.low, summary.high) == (0.5, 1.0), "two photos were drawn from"
    assert "protocol, by data set | one | two" in to_markdown(report)


def test_counts_name_what_was_read_left_out_and_broken() -> None:
    counts = make(*ROWS, found=None).counts
    assert (counts.photos, counts.objects, counts.left_out, counts.problems) == (1, 1, 2, 1)
    assert make().counts.objects == 4, "everything alone asks about objects too"


def test_summaries_hold_what_each_protocol_measures() -> None:
    report = make(*ROWS)
    assert report.summary["box"].mean_iou == 0.5
    assert report.summary["noc"].clicks == MeanClicks(noc_85=3, noc_90=20, failed_85=0, failed_90=1)
    assert report.summary["two-point"].by_distance == {100: Part(0.25, 1), 300: Part(0.75, 1)}
    assert report.summary["teacher"].num_objects == 0
    assert report.to_dict()["summary"]["teacher"] == {"num_objects": 0}
    assert report.calibration is not None
    assert report.calibration.best_scored_is_best == 0
    assert (report.calibration.mean_iou_of_best_scored, report.calibration.mean_iou_of_best) == (0.8, 1.0)
    assert summarise([]).num_objects == 0


def test_the_tables_show_every_protocol_and_recall() -> None:
    text = to_markdown(make(*ROWS))
    for name in ("| box |", "| click |", "| noc |", "| two-point |", "| NoC@85 |", "| AR@10 | AR@100 | AR@1000 |"):
        assert name in text
    assert "| 3.00 | 0 | 20.00 | 1 |" in text
    assert "0.250 (0.250-0.250) | 0.500 (0.500-0.500) | 1.000 (1.000-1.000)" in text
    assert "| teacher |" not in text


def test_data_sets_and_sources_that_are_the_same_parts_are_shown_once() -> None:
    other = replace(PLAIN, photo=PhotoId("two", "b"), object="b/1", source="t")
    text = to_markdown(make(PLAIN, other))
    assert "by source" in text
    assert "by data set" not in text
