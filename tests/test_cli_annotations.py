"""`mobilesam segment --write`: files for annotation tools."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from tests.helpers.readers import pixels_of_labelme, read_cvat

CUP = ("--box", "120,60,440,290")


def test_all_photos_share_a_file_and_labelme_has_one_each(
    run, coffee: Path, chelsea: Path, embedded: mobilesam.Predictor
) -> None:
    words = [*CUP, "-o", "out", "-w", "cvat", "-w", "label-studio", "-w", "labelme", "--label", "cup"]
    words += ["--backend", "onnx"]
    for _ in range(2):  # its own files are replaced
        code, out, err = run("segment", coffee, chelsea, *words)
        assert code == 0, err
    assert "wrote out/cvat.xml\nwrote out/label_studio.json\n" in out
    names = ["chelsea.json", "coffee.json", "cvat.xml", "label_studio.json"]
    assert sorted(path.name for path in Path("out").iterdir() if path.name[0] != ".") == names  # and no mask
    photos = read_cvat(Path("out/cvat.xml").read_text())
    assert [(photo["name"], photo["labels"]) for photo in photos] == [("coffee.png", ["cup"]), ("chelsea.png", ["cup"])]
    tasks = json.loads(Path("out/label_studio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == ["coffee.png", "chelsea.png"]
    for path, photo in zip((coffee, chelsea), photos, strict=True):
        expected = embedded.embed(path).predict(box=(120, 60, 440, 290)).best.array
        np.testing.assert_array_equal(photo["masks"][0], expected)
        record = json.loads(Path("out", f"{path.stem}.json").read_text())
        np.testing.assert_array_equal(pixels_of_labelme(record), expected)
        assert Path("out", record["imagePath"]).resolve() == path.resolve()
        assert {shape["label"] for shape in record["shapes"]} == {"cup"}


def test_a_label_that_no_file_would_hold_is_an_error(run, coffee: Path) -> None:
    code, _, err = run("segment", coffee, *CUP, "--label", "cup", "-o", "out")
    assert code == 2
    assert "--label does nothing without --write" in err
    assert not Path("out").exists()


def test_pictures_are_written_too_where_they_are_asked_for(run, coffee: Path) -> None:
    code, out, err = run("segment", coffee, *CUP, "-w", "cvat", "--overlay", "--json", "-o", "out")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["files"] == ["out/coffee_overlay.png"]
    assert lines[1] == {"file": "out/cvat.xml"}


@pytest.mark.parametrize("output", ["masks.json", "mask.png", "-"])
def test_a_folder_is_needed(run, coffee: Path, output: str) -> None:
    code, _, err = run("segment", coffee, *CUP, "-w", "cvat", "-o", output)
    assert code == 2
    assert "--write needs a folder for --output" in err


def test_a_file_of_somebody_else_stays_and_is_named_before_the_model_loads(run, coffee: Path) -> None:
    Path("cvat.xml").write_text("<annotations/>")
    code, _, err = run("segment", coffee, *CUP, "-w", "cvat", "--model", "no_such_model")
    assert code == 1
    assert "not written by mobilesam" in err
    assert Path("cvat.xml").read_text() == "<annotations/>"


def test_an_annotation_beside_the_photo_is_an_input_and_stays(run, coffee: Path) -> None:
    shutil.copy(coffee, "cup.png")
    Path("cup.json").write_text('{"version": "5.5.0", "shapes": []}')
    code, _, err = run("segment", "cup.png", *CUP, "-w", "labelme")
    assert code == 1
    assert "cup.json" in err
    assert Path("cup.json").read_text() == '{"version": "5.5.0", "shapes": []}'


def test_corrections_that_were_made_in_labelme_survive_the_next_run(run, coffee: Path) -> None:
    words = ["segment", coffee, *CUP, "-w", "labelme", "-o", "out", "--backend", "onnx"]
    assert run(*words)[0] == 0
    path = Path("out/coffee.json")
    record = json.loads(path.read_text())
    record["shapes"][0]["label"] = "corrected"
    # LabelMe saves its own keys first, and those that it does not know behind them.
    known = {key: record.pop(key) for key in ("version", "flags", "shapes", "imagePath", "imageData")}
    path.write_text(json.dumps({**known, **record}, indent=2))
    assert "written by mobilesam" in path.read_text()
    before = path.read_bytes()
    code, _, err = run(*words)
    assert (code, path.read_bytes() == before) == (1, True)
    assert "was changed after mobilesam wrote it" in err
    assert "--overwrite" in err
    assert run(*words, "--overwrite")[0] == 0
    assert "corrected" not in path.read_text()


def test_the_folder_of_labelme_files_is_a_data_set_with_its_photos_elsewhere(run, coffee: Path) -> None:
    assert run("segment", coffee, *CUP, "-w", "labelme", "-o", "out", "--backend", "onnx")[0] == 0
    code, out, err = run("evaluate", "out", "-p", "box", "--backend", "onnx", "--json")
    assert code == 0, err
    assert json.loads(out)["summary"]["box"]["mean_iou"] > 0.8
