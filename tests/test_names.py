from __future__ import annotations

import random
from pathlib import Path

import pytest

from mobilesam import names
from mobilesam.names import absolute, output_names, short_paths


def test_a_photo_alone_is_named_by_its_stem() -> None:
    assert output_names(["one/a.png", Path("two/b.jpg")]) == ["a", "b"]


def test_photos_of_one_stem_are_told_apart_by_extension_then_by_folder() -> None:
    assert output_names(["a.jpg", "a.png", "a_1.jpg"]) == ["a_jpg", "a_png", "a_1"]
    assert output_names(["one/a.png", "two/a.png"]) == ["one_a_png", "two_a_png"]
    assert output_names(["s/one/a.png", "t/one/a.png"]) == ["s_one_a_png", "t_one_a_png"]
    assert output_names(["a.png", "a.jpg", "b/a_png.png"]) == [f"{Path.cwd().name}_a_png", "a_jpg", "a_png"]


def test_names_differ_in_more_than_case_and_spelling() -> None:
    for pair in (("A.png", "a.png"), ("one/B.png", "One/b.png"), ("caf\u00e9.png", "cafe\u0301.png")):
        made = output_names(pair)
        assert len(set(map(names.fold, made))) == 2, made


def test_names_do_not_depend_on_the_order() -> None:
    photos = [
        f"{folder}/{name}" for folder in ("x", "y", "X") for name in ("a.png", "a.jpg", "A.png", "b.png", "x_a.gif")
    ]
    photos += ["x_a_png.png", "deep/x/a.png", "a_png.webp"]
    expected = dict(zip(photos, output_names(photos), strict=True))
    assert len(set(map(names.fold, expected.values()))) == len(photos)
    for seed in range(10):
        shuffled = random.Random(seed).sample(photos, len(photos))
        assert dict(zip(shuffled, output_names(shuffled), strict=True)) == expected


def test_the_same_photo_twice_has_one_name() -> None:
    assert output_names(["one/a.png", "one/../one/a.png", "b.png"]) == ["a", "a", "b"]


def test_a_name_that_is_taken_is_left_alone_and_an_owner_keeps_its_own() -> None:
    assert output_names(["one/a.png"], taken=["A"]) == ["a_png"]
    owners = {"a": absolute("one/a.png"), "two_a_png": absolute("two/a.png")}
    for photos in (["one/a.png", "two/a.png", "three/a.png"], ["three/a.png", "two/a.png", "one/a.png"]):
        made = dict(zip(photos, output_names(photos, taken=owners, owner=owners.get), strict=True))
        assert made == {"one/a.png": "a", "two/a.png": "two_a_png", "three/a.png": "a_png"}


def test_short_paths_are_names_and_folders_as_far_as_these_repeat() -> None:
    photos = ["one/a.png", "two/a.png", "x/one/b.png", "y/one/b.png", "c.png"]
    expected = ["one/a.png", "two/a.png", "x/one/b.png", "y/one/b.png", "c.png"]
    assert short_paths(photos) == expected
    assert short_paths(photos[::-1]) == expected[::-1]
    assert short_paths(["one/a.png", "two/b.png", "one/a.png"]) == ["a.png", "b.png", "a.png"]
    assert short_paths(["t/a.png", "t/x/a.png", "t/x/x/a.png"]) == ["t/a.png", "t/x/a.png", "x/x/a.png"]
    assert short_paths([]) == []


def test_long_paths_get_short_names() -> None:
    deep = "/".join(["f" * 60] * 4)
    for name in output_names([f"{deep}/{'s' * 90}.png", f"{deep}2/{'s' * 90}.png"]):
        assert len(name) <= names.MAX_LENGTH


@pytest.mark.parametrize("pattern", ["{}/same.png", "photo{}.png", "folder/{}.PNG"])
def test_the_work_grows_with_the_number_of_photos_and_not_with_its_square(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    class Key(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    fold, count = names.fold, 3000
    monkeypatch.setattr(names, "fold", lambda name: Key(fold(name)))
    made = output_names([pattern.format(i) for i in range(count)])
    assert len(set(made)) == count
    assert compared < 20 * count
