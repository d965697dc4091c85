from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import mobilesam
from mobilesam.everything.candidates import FoundMask
from mobilesam.everything.settings import EverythingSettings
from mobilesam.everything.write import fingerprint, label_image, overlay, write, write_coco, yolo_line
from mobilesam.masks import to_rle

EXAMPLES = Path(__file__).parents[2] / "examples"
ALL = ("labels", "overlay", "masks", "yolo", "coco")


def found(mask: np.ndarray, score: float = 0.9) -> FoundMask:
    ys, xs = np.nonzero(mask)
    box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))
    return FoundMask(to_rle(mask), int(mask.sum()), box, score, 0.95, (1.0, 1.0), (0, 0, mask.shape[1], mask.shape[0]))


@pytest.fixture
def two() -> list[FoundMask]:
    """A small square inside a large one; the small one is surer."""
    large, small = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    large[5:35, 5:45] = True
    small[10:20, 10:20] = True
    return [found(small), found(large, 0.5)]


def test_the_smaller_mask_lies_on_top(two: list[FoundMask]) -> None:
    labels = label_image(two, (40, 60))
    assert labels[15, 15] == 1
    assert labels[30, 30] == 2
    assert labels[0, 0] == 0
    picture = overlay(np.full((40, 60, 3), 100, np.uint8), two)
    assert (picture[0, 0] == 100).all()
    assert (picture[15, 15] != picture[30, 30]).any()


def test_a_yolo_line_is_the_outline_in_units_of_the_photo(two: list[FoundMask]) -> None:
    kind, *values = yolo_line(two[0]).split()
    assert kind == "0"
    xy = np.array(values, float).reshape(-1, 2) * (60, 40)
    np.testing.assert_allclose([xy.min(0), xy.max(0)], [[10, 10], [20, 20]], atol=1e-3)


def test_every_form_is_written_and_read_back(two: list[FoundMask], tmp_path: Path, capsys) -> None:
    rgb = np.full((40, 60, 3), 100, np.uint8)
    files = write(tmp_path, "a", "a.jpg", rgb, two, ALL, "id")
    assert [file.name for file in files] == ["a_labels.png", "a_overlay.jpg", "a_masks", "a.txt", "a.json"]
    with Image.open(tmp_path / "a_labels.png") as labels:
        assert np.unique(np.asarray(labels)).tolist() == [0, 1, 2]
    with Image.open(tmp_path / "a_masks" / "0002.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask) > 0, two[1].array)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["annotations"][0]["bbox"] == [10, 10, 9, 9]
    coco = COCO(str(write_coco(tmp_path, ["a"])))
    np.testing.assert_array_equal(coco.annToMask(coco.anns[2]), two[1].array)
    capsys.readouterr()


QUICK = ("--points-per-side", "4", "--json")


def test_a_folder_is_done_once_and_only_what_is_unfinished_again(run, tmp_path: Path) -> None:
    photos = (EXAMPLES / "coffee.png", EXAMPLES / "chelsea.png")
    code, out, _ = run("everything", *photos, "-o", "out", "-w", "coco", *QUICK, "--workers", "2")
    assert code == 0
    first = [json.loads(line) for line in out.splitlines()]
    assert [line["num_masks"] > 0 for line in first[:2]] == [True, True]
    whole = (tmp_path / "out" / "coffee.json").read_bytes()
    (tmp_path / "out" / "chelsea.json").unlink()
    code, out, _ = run("everything", *photos, "-o", "out", "-w", "coco", *QUICK)
    second = [json.loads(line) for line in out.splitlines()]
    assert [line.get("skipped", False) for line in second[:2]] == [True, False]
    assert (tmp_path / "out" / "coffee.json").read_bytes() == whole
    assert len(json.loads((tmp_path / "out" / "instances.json").read_text())["images"]) == 2
    _, out, _ = run("everything", *photos, "-o", "out", "-w", "coco", "--points-per-side", "3", "--json")
    assert not any(json.loads(line).get("skipped") for line in out.splitlines()), "other settings: done again"


def test_the_fast_ways_are_options(run) -> None:
    fast = ("--points-per-side", "6", "--coarse", "2", "--refine", "--dense-where", "uncovered", "--json")
    code, out, _ = run("everything", EXAMPLES / "coffee.png", "-o", "out", *fast)
    assert code == 0
    assert json.loads(out)["num_masks"] > 0
    code, _, err = run("everything", EXAMPLES / "coffee.png", "-o", "out", "--dense-where", "nowhere")
    assert code == 2
    assert "dense_where is small or uncovered" in err


def test_what_was_done_in_other_digits_is_done_again(embedded: mobilesam.Predictor) -> None:
    settings = EverythingSettings()
    names = {fingerprint(embedded.info, settings, ALL, precision) for precision in ("float32", "bfloat16")}
    names |= {fingerprint(embedded.info, replace(settings, refine=True), ALL)}
    assert len(names) == 3
    assert fingerprint(embedded.info, settings, ALL[::-1]) in names


def test_a_broken_photo_is_named_and_the_others_done(run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo")
    code, out, err = run("everything", "bad.png", EXAMPLES / "chelsea.png", "-o", "out", *QUICK)
    assert code == 1
    assert "'bad.png' is not a photo" in err
    assert "chelsea_overlay.jpg" in out
    code, _, err = run("everything", "chelsea.png", "-w", "xml")
    assert code == 2
    assert "labels, overlay, masks, yolo, coco" in err
