from __future__ import annotations

from collections.abc import Sequence

import pytest

from mobilesam.data.photo import PhotoId
from mobilesam.errors import DataError
from mobilesam.evaluate.compare import compare, compare_reports
from mobilesam.evaluate.records import Row
from mobilesam.evaluate.summaries import Counts, Report, RunRecord


def row(photo: PhotoId, iou: float, protocol: str = "box") -> Row:
    return Row(
        protocol=protocol,
        photo=photo,
        object=f"{photo.path}/0",
        source="s",
        iou=iou,
        boundary_iou=0,
        components=1,
        area=9,
        size="S",
        score=None,
    )


def rows(ious: Sequence[float], dataset: str = "d", name: str = "p") -> list[Row]:
    return [row(PhotoId(dataset, f"{name}{i}"), iou) for i, iou in enumerate(ious)]


def test_reports_are_paired_by_object_and_strangers_refused() -> None:
    result = compare(rows([0.5] * 9), rows([0.6] * 9))["box"]
    assert result.difference == pytest.approx(0.1)
    assert (result.low, result.high) == (pytest.approx(0.1), pytest.approx(0.1))  # type: ignore[comparison-overlap]
    with pytest.raises(DataError, match="share no object"):
        compare(rows([0.5]), rows([0.5], name="q"))


def test_photos_of_one_name_in_two_data_sets_are_paired_each_with_its_own() -> None:
    a = rows([0.1, 0.2], "one") + rows([0.3, 0.4], "two")
    b = rows([0.4, 0.4], "two") + rows([0.1, 0.3], "one")
    result = compare(a, b)["box"]
    assert result.num_objects == 4
    assert (result.a, result.b) == (pytest.approx(0.25), pytest.approx(0.3))  # type: ignore[comparison-overlap]
    with pytest.raises(DataError, match="share no object"):
        compare(rows([0.5], "one"), rows([0.5], "two"))


@pytest.mark.parametrize("swap", [False, True])
def test_an_old_report_that_names_no_data_sets_is_paired_by_names(swap: bool) -> None:
    old, new = rows([0.5, 0.5], ""), rows([0.6, 0.6], "d")
    result = (compare(new, old) if swap else compare(old, new))["box"]
    assert result.difference == pytest.approx(-0.1 if swap else 0.1)


def test_an_old_report_is_refused_where_names_do_not_tell_photos_apart() -> None:
    with pytest.raises(DataError, match="several data sets"):
        compare(rows([0.5], ""), rows([0.1], "one") + rows([0.9], "two"))


def report(data: dict[str, str], ious: Sequence[float], data_bytes: dict[str, str] | None = None) -> Report:
    return Report(
        settings={},
        model={},
        counts=Counts(1, 1, 0, 0),
        problems=(),
        summary={},
        everything=None,
        calibration=None,
        run=RunRecord(date="", machine="", versions={}, peak_memory_mb=0, median_seconds_of_everything=None),
        rows=tuple(rows(ious)),
        data=data,
        data_bytes=data_bytes or {},
    )


def test_reports_of_different_data_under_one_name_are_refused() -> None:
    a = report({"d": "1", "only here": "5"}, [0.5])
    assert compare_reports(a, report({"d": "1", "elsewhere": "6"}, [0.6]))["box"].difference == pytest.approx(0.1)
    with pytest.raises(DataError, match=r"different data under one name: d; .*Evaluate both models on the same data"):
        compare_reports(a, report({"d": "2"}, [0.6]))


def test_reports_that_do_not_tell_what_data_they_are_of_can_be_compared() -> None:
    assert compare_reports(report({}, [0.5]), report({"d": "2"}, [0.6]))["box"].num_objects == 1


def test_reports_of_other_bytes_of_the_same_sizes_are_refused() -> None:
    a, b = report({"d": "1"}, [0.5], {"d": "x"}), report({"d": "1"}, [0.6], {"d": "y"})
    with pytest.raises(DataError, match="different data under one name: d"):
        compare_reports(a, b)
    assert compare_reports(a, a)["box"].num_objects == 1


def test_an_older_report_without_checksums_of_bytes_is_compared_by_sizes_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    new, old = report({"d": "1"}, [0.5], {"d": "x"}), report({"d": "1"}, [0.6])
    assert compare_reports(new, old)["box"].num_objects == 1
    assert "sizes" in caplog.text
    caplog.clear()
    compare_reports(new, new)
    assert not caplog.text
    with pytest.raises(DataError, match="different data"):
        compare_reports(new, report({"d": "2"}, [0.6]))
