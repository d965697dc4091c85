from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId
from mobilesam.data.split import hold_out, keep_fraction
from mobilesam.data.survey import Survey, survey
from mobilesam.errors import DataError


@pytest.fixture
def found(shard: Path) -> Survey:
    return survey([str(shard)])


def many(found: Survey, dataset: str) -> Survey:
    photos = [replace(found.photos[0], id=PhotoId(dataset, str(i))) for i in range(400)]
    return Survey(photos, ["a", "b"] * 200, {})


def test_fractions_are_nested_and_sources_can_be_chosen(found: Survey) -> None:
    quarter, half = ({p.id for p in keep_fraction(many(found, "s"), f).photos} for f in (0.25, 0.5))
    assert 70 < len(quarter) < 130
    assert quarter < half
    assert len(keep_fraction(many(found, "s"), 1.0).photos) == 400
    assert set(keep_fraction(found, 1.0, ("b",)).sources) == {"b"}
    with pytest.raises(DataError, match="sources here: a, b"):
        keep_fraction(found, 1.0, ("c",))


def test_draws_depend_on_the_path_and_not_on_what_the_data_set_is_called(found: Survey) -> None:
    a, b = many(found, "s"), many(found, "elsewhere/s.tar")
    assert [p.name for p in keep_fraction(a, 0.3).photos] == [p.name for p in keep_fraction(b, 0.3).photos]
    assert [p.id.path for p in hold_out(a, 20)[0]] == [p.id.path for p in hold_out(b, 20)[0]]


def test_the_photos_held_out_in_version_0_1_are_held_out(found: Survey) -> None:
    assert [p.id.path for p in hold_out(found, 8)[0]] == ["photo_10"]


def test_held_out_photos_are_at_most_a_tenth_and_can_be_asked_about(found: Survey) -> None:
    plenty = many(found, "s")
    assert len(hold_out(plenty, 1000)[0]) == 40
    held_out, rest = hold_out(plenty, 5)
    assert len(held_out) == 5
    assert len(rest.photos) == 395
    first = next(p for p in plenty.photos if p.id == held_out[0].id)
    without = replace(first, truth=None)
    swapped = Survey([without if p.id == without.id else p for p in plenty.photos], plenty.sources, {})
    again, rest = hold_out(swapped, 5)
    assert without.id not in [p.id for p in again]
    assert without in rest.photos
    assert [p.id for p in again[:4]] == [p.id for p in held_out[1:]]


def test_of_two_data_sets_with_the_same_names_the_same_photos_are_held_out_in_any_order(
    shard: Path, tmp_path: Path
) -> None:
    copies = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        copies.append(str(shutil.copy(shard, tmp_path / folder / "x.tar")))
    held = [{p.id for p in hold_out(survey(order), 1)[0]} for order in (copies, copies[::-1])]
    assert held[0] == held[1]


def test_a_damaged_photo_is_not_held_out_and_another_is(found: Survey) -> None:
    plenty = many(found, "s")
    before = [p.id for p in hold_out(plenty, 5)[0]]
    broken = [replace(p, file=FileRef(__file__)) if p.id == before[0] else p for p in plenty.photos]
    after = [p.id for p in hold_out(Survey(broken, plenty.sources, {}), 5)[0]]
    assert after[:4] == before[1:]
