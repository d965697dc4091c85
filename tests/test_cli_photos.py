from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from PIL import Image

from mobilesam.cli.photos import Opening, about, parse_range
from mobilesam.errors import DataError, ImageError, ModelError
from mobilesam.image import find_photos
from mobilesam.opening import tones

CASES = Path(__file__).parent / "cases"
CLICK = ("--point", "290,120")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_hidden_files_are_skipped_and_sub_folders_searched_when_asked(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.png", "._a.png", "b/c.avif", "b/d/e.JP2", "b/.x/f.png", "b/note.txt")))
    assert list(find_photos([str(tmp_path)])) == [tmp_path / "a.png"]
    found = list(find_photos([str(tmp_path)], recursive=True))
    assert found == [tmp_path / "a.png", tmp_path / "b/c.avif", tmp_path / "b/d/e.JP2"]
    with pytest.raises(ImageError, match="holds no photos"):
        list(find_photos([str(tmp_path / "b" / "*.png")]))


@pytest.mark.parametrize("verb", ["segment", "everything"])
def test_bad_photos_do_not_end_a_run_and_are_counted(run, verb: str, coffee: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for case in CASES.iterdir():
        (photos / f"a_{case.name}.png").write_bytes(case.read_bytes())
    os.mkfifo(photos / "b.png")
    (photos / "z.png").write_bytes(coffee.read_bytes())
    count = len(list(CASES.iterdir())) + 1
    options = CLICK if verb == "segment" else ("--points-per-side", "2")
    code, out, err = run(verb, photos, *options, "-o", "out")
    assert code == 1
    assert "z" in out
    for photo in photos.iterdir():
        assert (photo.name in err) == (photo.name != "z.png")
    assert f"{count} of {count + 1} photos failed" in err


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_photo_that_the_prompt_does_not_fit_is_named(
    run, coffee: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    (tmp_path / "photos").mkdir()
    with Image.open(coffee) as image:
        for name, size in (("a.png", (40, 40)), ("b.png", (600, 400)), ("c.png", (50, 50))):
            image.resize(size).save(tmp_path / "photos" / name)
    code, _, err = run("segment", "photos", *CLICK, "-o", "out", *more)
    assert code == 1
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.partition(": point (290, 120) lies outside")[0] for line in lines] == [
        "error: 'photos/a.png'",
        "error: 'photos/c.png'",
    ]


def test_an_error_that_names_its_photo_names_it_once() -> None:
    assert about("a/b.png", DataError("'a/b.png' is damaged")) == "'a/b.png' is damaged"
    assert about("a/b.png", DataError("no space")) == "'a/b.png': no space"
    assert about(Path("a/b.png"), OSError(28, "No space")) == "'a/b.png': No space"


def test_the_limit_of_pixels_is_an_option(run, coffee: Path) -> None:
    code, _, err = run("segment", coffee, *CLICK, "--max-pixels", "1000")
    assert code == 1
    assert "600x400" in err
    assert run("segment", coffee, *CLICK, "--max-pixels", "240000")[0] == 0


def test_a_range_is_an_option_and_a_guess_is_said_once(run, tmp_path: Path) -> None:
    tones._was_said.clear()
    deep = (np.add.outer(np.arange(100), np.arange(120)) * 10 + 300).astype(np.uint16)
    for name in ("a.png", "b.png"):
        Image.fromarray(deep).save(tmp_path / name)
    code, _, err = run("segment", "a.png", "b.png", "--point", "50,50")
    assert code == 0
    assert err.count("deep values") == 1
    code, _, err = run("segment", "a.png", "--point", "50,50", "--range", "300,2500")
    assert code == 0
    assert "deep values" not in err
    assert run("segment", "a.png", "--point", "50,50", "--range", "9,1")[0] == 2
    np.testing.assert_array_equal(
        Opening(value_range=parse_range("300,2500")).open("a.png")[..., 0],
        np.round(np.clip((deep - 300.0) / 2200, 0, 1) * 255),
    )
    with pytest.raises(typer.BadParameter, match="LOW,HIGH"):
        parse_range("1,2,3")


def test_a_photo_comes_through_standard_input_and_a_mask_leaves_through_standard_output(coffee: Path) -> None:
    command = [sys.executable, "-m", "mobilesam", "segment", "-", *CLICK, "-o", "-"]
    answer = subprocess.run(command, input=coffee.read_bytes(), capture_output=True, check=True)
    with Image.open(io.BytesIO(answer.stdout)) as mask:
        assert mask.size == (600, 400)
        assert set(np.unique(np.asarray(mask))) == {0, 255}
    assert b"score" in answer.stderr
    answer = subprocess.run([*command, "--json"], input=coffee.read_bytes(), capture_output=True, check=True)
    assert json.loads(answer.stdout)["masks"][0]["area"] > 1000


def test_standard_output_takes_one_picture(run, coffee: Path) -> None:
    assert run("segment", coffee, coffee, *CLICK, "-o", "-")[0] == 2
    code, _, err = run("segment", coffee, *CLICK, "-o", "-", "--all")
    assert code == 2
    assert "takes one picture" in err


def test_everything_takes_the_options_of_photos(run, coffee: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        (tmp_path / "photos" / folder / "x.png").write_bytes(coffee.read_bytes())
    words = ("everything", "photos", "--points-per-side", "2", "-w", "labels", "-o", "out")
    code, _, err = run(*words)
    assert (code, "holds no photos" in err) == (1, True)
    code, _, err = run(*words, "--recursive", "--max-pixels", "1000")
    assert (code, "2 of 2 photos failed" in err) == (1, True)
    assert run(*words, "--recursive")[0] == 0
    labels = sorted((tmp_path / "out").rglob("*.png"))
    assert labels == [tmp_path / "out" / "a" / "x_labels.png", tmp_path / "out" / "b" / "x_labels.png"]
    assert "skipped" in run(*words, "--recursive")[1]
    assert "skipped" not in run(*words, "--recursive", "--range", "0,100")[1]
    assert run(*words, "--recursive", "--range", "1")[0] == 2


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("Insufficient memory"), ModelError("it has failed")])
def test_whatever_one_photo_raises_it_is_named_and_the_others_are_segmented(
    run, coffee: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from mobilesam.predict.results import Prediction

    original, calls = Prediction.__getitem__, []

    def failing(self: Prediction, index: int) -> object:
        calls.append(index)
        if len(calls) == 1:
            raise error
        return original(self, index)

    monkeypatch.setattr(Prediction, "__getitem__", failing)
    (tmp_path / "b.png").write_bytes(coffee.read_bytes())
    code, out, err = run("segment", coffee, tmp_path / "b.png", *CLICK, "-o", "out")
    assert code == 1
    assert "1 of 2 photos failed" in err
    assert "memory" in err or "it has failed" in err
    assert "b_mask.png" in out


@pytest.mark.parametrize("text", ["100,0", "5,5", "nan,1", "0,inf", "1", "a,b"])
def test_a_range_that_cannot_be_is_named_by_its_option(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--range takes LOW,HIGH, two numbers, the lower first"):
        parse_range(text)
