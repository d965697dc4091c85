"""The commands that people reported to fail, on inputs made here; README.md says which test covers which fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.image import open_photo
from mobilesam.masks import to_rle
from tests.fuzz.known import png_of

HW = (240, 320)
CENTRE, RADIUS = (160, 120), 60
BOX = "100,60,220,180"


def disk(centre: tuple[int, int] = CENTRE, radius: int = RADIUS) -> np.ndarray:
    """Where the object is, (H, W)."""
    y, x = np.mgrid[: HW[0], : HW[1]]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def photo(path: Path, mask: np.ndarray | None = None, **options: Any) -> Path:
    """A red object on a dark ground."""
    found = disk() if mask is None else mask
    noise = np.random.default_rng(0).integers(-8, 8, (*found.shape, 3))
    rgb = np.where(found[..., None], (220, 60, 40), (40, 90, 60)) + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path, **options)
    return path


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def outline(radius: int = RADIUS) -> list[float]:
    """The disk as a polygon of COCO."""
    angle = np.arange(24) * 2 * np.pi / 24
    xy = np.stack([CENTRE[0] + radius * np.cos(angle), CENTRE[1] + radius * np.sin(angle)], axis=1)
    return [float(value) for value in xy.ravel()]


def test_made_up_names_are_unique_against_real_ones(run, tmp_path: Path) -> None:
    centres = {"a.jpg": (80, 80), "a.png": (240, 80), "a_1.jpg": (160, 170)}
    for name, centre in centres.items():
        photo(tmp_path / "in" / name, disk(centre, 50))
    for order in (sorted(centres), sorted(centres, reverse=True)):
        paths = [f"in/{name}" for name in order]
        code, out, err = run("segment", *paths, "--box", "20,20,300,220", "-o", "out", "--json")
        files = [line["files"][0] for line in map(json.loads, out.splitlines())]
        assert (code, sorted(files)) == (0, ["out/a_1_mask.png", "out/a_jpg_mask.png", "out/a_png_mask.png"]), err
    assert run("everything", "in", "-o", "all", "-w", "coco", "--points-per-side", 3)[0] == 0
    listed = [image["file_name"] for image in json.loads((tmp_path / "all" / "instances.json").read_text())["images"]]
    assert sorted(listed) == ["in/a.jpg", "in/a.png", "in/a_1.jpg"]


@pytest.mark.parametrize("orientation", [3, 6])
def test_what_everything_writes_for_a_turned_photo_is_measured_where_it_was_drawn(
    run, tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(tmp_path / "in" / "phone.jpg", disk((230, 70), 45), exif=exif.tobytes())
    assert run("everything", "in", "-o", "ev", "-w", "coco", "--points-per-side", 8)[0] == 0
    code, _, err = run("evaluate", "ev/instances.json", "--images", "in", "-p", "box", "-o", "r.json")
    assert (code, "problem" in err) == (0, False), err
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["box"]["mean_iou"] > 0.9


def coco(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Two photos with an object each, of which the second is changed."""
    photo(folder / "images" / "p1.jpg")
    photo(folder / "images" / "p2.jpg")
    images = [{"id": i, "file_name": f"p{i}.jpg", "height": HW[0], "width": HW[1]} for i in (1, 2)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "segmentation": [outline()], "iscrowd": 0} for i in (1, 2)]
    record = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "x"}]}
    change(record)
    (folder / "c.json").write_text(json.dumps(record))
    return folder / "c.json"


def second(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Give the second annotation other values."""
    return lambda record: record["annotations"][1].update(values)


def of_image(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record["images"][1].update(values)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "NaN": (second(segmentation=[[float("nan"), *outline()[1:]]]), "not a finite number"),
    "infinity": (second(segmentation=[[float("inf"), *outline()[1:]]]), "not a finite number"),
    "null": (second(segmentation=[[None, *outline()[1:]]]), "not a number"),
    "text": (second(segmentation=[["1", *outline()[1:]]]), "not a number"),
    "two points": (second(segmentation=[[1, 2, 3, 4]]), "three"),
    "flat": (second(segmentation=outline()), "list of numbers"),
    "odd": (second(segmentation=[outline()[:-1]]), "pairs"),
    "empty": (second(segmentation=[]), "no segmentation"),
    "none": (second(segmentation=None), "no segmentation"),
    "a number": (second(segmentation=7), "run lengths are an object"),
    "another size": (second(segmentation=to_rle(np.ones((100, 100), bool))), "100x100|another size"),
    "endless": (second(segmentation={"size": [10**6, 10**6], "counts": "11"}), "1000000x1000000|more than"),
    "cut runs": (second(segmentation={"size": list(HW), "counts": "5"}), "add up to 5"),
    "foreign runs": (second(segmentation={"size": list(HW), "counts": "zz~~"}), "not COCO's"),
    "no image_id": (lambda record: record["annotations"][1].pop("image_id"), "no 'image_id'"),
    "image_id is a list": (second(image_id=[2]), "an image's id is a number or a text"),
    "image_id of nobody": (second(image_id=99), "images that the file does not list"),
}
RIGHT: dict[str, Callable[[dict[str, Any]], None]] = {
    "sizes are left out": lambda record: [image.pop(key) for image in record["images"] for key in ("width", "height")],  # type: ignore[dict-item]
    "backslashes": of_image(file_name="images\\p2.jpg"),
    "ids are texts": lambda record: (of_image(id="b")(record), second(image_id="b")(record)),  # type: ignore[dict-item]
    "ids are fractions": lambda record: (of_image(id=2.0)(record), second(image_id="2")(record)),  # type: ignore[dict-item]
    "the far end of the world": second(segmentation=[outline(), [-1e9, -1e9, -1e9 + 9, -1e9, -1e9, -1e9 + 9]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_wrong_annotation_is_named_and_the_others_are_measured(run, tmp_path: Path, name: str) -> None:
    change, why = WRONG[name]
    path = coco(tmp_path, change)
    code, out, err = run("evaluate", path, "--images", "images", "-p", "box", "--json")
    found = json.loads(out)["summary"]["box"]
    assert (code, found["num_objects"], found["mean_iou"] > 0.95) == (1, 1, True), err
    assert "problem: " in err
    assert any(part in err for part in why.split("|")), err
    for_training(path, tmp_path, num_photos=1, why=why)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_annotation_in_another_spelling_is_measured(run, tmp_path: Path, name: str, encoding: str) -> None:
    path = coco(tmp_path, RIGHT[name])
    path.write_text(path.read_text(), encoding=encoding)
    code, out, err = run("evaluate", path, "--images", "images", "-p", "box", "--json")
    found = json.loads(out)["summary"]["box"]
    assert (code, found["num_objects"], found["mean_iou"] > 0.95, "problem" in err) == (0, 2, True, False), err
    for_training(path, tmp_path, num_photos=2, why="")


def for_training(path: Path, folder: Path, *, num_photos: int, why: str) -> None:
    """What `mobilesam train` does with the file before its first step, and one item of its first batch."""
    from mobilesam.data.decoded import read_photo
    from mobilesam.data.survey import survey

    found = survey([str(path)], photos=folder / "images")
    assert len(found.photos) == num_photos
    assert any(part in found.summary() for part in why.split("|")), found.summary()
    for one in found.photos:
        read = read_photo(one)
        assert iou(read.mask(0), disk()) > 0.97


def test_formats_that_fail_are_named_and_the_folder_goes_on(run, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "good.jpg")
    (tmp_path / "in" / "pano.png").write_bytes(png_of(20_001, 10_000))
    bad = {
        "a.png": b"P6\n4 x3\n255\n",
        "b.jp2": b"\xff\x4f\xff\x51\x00\x00",
        "c.webp": b"RIFF\x08\0\0\0WEBPVP8 ",
        "d.gif": b"GIF89a\x01\0\x01\0",
        "e.bmp": b"BM" + bytes(20),
        "f.tif": b"II*\0\x08\0\0\0",
        "g.avif": b"\0\0\0\x20ftypavif" + bytes(40),
        "h.jpg": b"\xff\xd8\xff",
        "i.png": b"<!DOCTYPE html>",
        "j.heic": b"\0\0\0\x18ftypheic" + bytes(16),
        "k.mpo": b"",
    }
    for name, data in bad.items():
        (tmp_path / "in" / name).write_bytes(data)
    for verb in (
        ("segment", "in", "--box", BOX, "-o", "out"),
        ("everything", "in", "-o", "all", "--points-per-side", 2),
    ):
        code, out, err = run(*verb)
        assert (code, "good" in out, "Traceback" in err) == (1, True, False)
        for name in (*bad, "pano.png"):
            assert f"in/{name}" in err, (name, err)
        assert "too many pixels" in err
    assert iou(np.asarray(Image.open(tmp_path / "out" / "good_mask.png")) > 0, disk()) > 0.95


def test_a_photo_of_floats_is_named_and_shown(run, tmp_path: Path) -> None:
    values = np.where(disk(), 900.0, 200.0).astype(np.float32)
    values[0, :5] = np.nan
    Image.fromarray(values).save(tmp_path / "heights.tif")
    code, _, err = run("segment", "heights.tif", "--box", BOX, "-o", "o.png")
    assert (code, "'heights.tif' has deep values" in err) == (0, True), err
    assert iou(np.asarray(Image.open(tmp_path / "o.png")) > 0, disk()) > 0.95


def evaluated(run, folder: Path, expected: int = 0) -> tuple[float, str]:
    code, out, err = run("evaluate", folder, "-p", "box", "--json")
    found = json.loads(out)["summary"]["box"]
    assert (code, found["num_objects"]) == (expected, 1), err
    return found["mean_iou"], err


@pytest.mark.parametrize("kind", ["alpha", "grey alpha", "jpeg", "webp", "1 bit", "palette", "16 bit", "colour"])
def test_the_mask_of_an_object_is_read_however_it_is_stored(run, tmp_path: Path, kind: str) -> None:
    photo(tmp_path / "set" / "images" / "a.jpg")
    (tmp_path / "set" / "masks").mkdir()
    on = disk().astype(np.uint8) * 255
    white = np.full_like(on, 255)
    pictures: dict[str, tuple[Image.Image, str]] = {
        "alpha": (Image.fromarray(np.dstack([white, white, white, on])), "png"),
        "grey alpha": (Image.fromarray(np.dstack([white, on]), "LA"), "png"),
        "jpeg": (Image.fromarray(on), "jpg"),
        "webp": (Image.fromarray(on).convert("RGB"), "webp"),
        "1 bit": (Image.fromarray(on).convert("1"), "png"),
        "palette": (Image.fromarray(on // 255).convert("P"), "png"),
        "16 bit": (Image.fromarray(on.astype(np.uint16) * 257), "png"),
        "colour": (Image.fromarray(np.dstack([on, on * 0, on * 0])), "png"),
    }
    picture, suffix = pictures[kind]
    picture.save(tmp_path / "set" / "masks" / f"a.{suffix}", **({"quality": 60} if suffix in ("jpg", "webp") else {}))
    assert evaluated(run, tmp_path / "set")[0] > 0.97


def test_labelme_is_measured_and_nothing_measured_is_a_failure(run, tmp_path: Path) -> None:
    photo(tmp_path / "set" / "a.jpg")
    points = np.reshape(outline(), (-1, 2)).tolist()
    record: dict[str, Any] = {"shapes": [{"label": "x", "points": points, "shape_type": "polygon"}], "imageData": None}
    (tmp_path / "set" / "a.json").write_text(json.dumps(record))
    assert evaluated(run, tmp_path / "set")[0] > 0.95
    record["shapes"][0]["shape_type"] = "line"
    (tmp_path / "set" / "a.json").write_text(json.dumps(record))
    code, _, err = run("evaluate", "set", "-p", "box")
    assert (code, "nothing was measured" in err) == (1, True)


@pytest.mark.parametrize(
    "line", ["0 0.5 0.5 0.1 0.1", "0 0.5", "x y z", "0 nan 0.1 0.2 0.2 0.3 0.3", "0 1e9 1 2 2 3 3"]
)
def test_one_bad_line_of_yolo_costs_itself(run, tmp_path: Path, line: str) -> None:
    photo(tmp_path / "set" / "images" / "train" / "a.jpg")
    (tmp_path / "set" / "labels" / "train").mkdir(parents=True)
    unit = " ".join(str(value / (HW[1], HW[0])[i % 2]) for i, value in enumerate(outline()))
    (tmp_path / "set" / "labels" / "train" / "a.txt").write_text(f"0 {unit}\n{line}\n")
    score, err = evaluated(run, tmp_path / "set", expected=1)
    assert (score > 0.95, "object train/a.jpg/1" in err) == (True, True), err


def test_an_object_of_twelve_bits_is_found(run, tmp_path: Path) -> None:
    shades = np.random.default_rng(0).normal(np.where(disk(), 150, 70), 6)
    for name, factor in (("8", 1), ("10", 4), ("12", 16), ("16", 257)):
        kind = np.uint8 if factor == 1 else np.uint16
        Image.fromarray((shades * factor).clip(0, 255 * factor).astype(kind)).save(tmp_path / f"{name}.tif")
        code, _, err = run("segment", f"{name}.tif", "--point", "160,120", "-o", f"{name}_mask.png")
        assert code == 0, err
        assert iou(np.asarray(Image.open(tmp_path / f"{name}_mask.png")) > 0, disk()) > 0.9
    assert open_photo(tmp_path / "12.tif").max() == 255


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_bad_prompt_does_not_spoil_the_next(backend: Any, tmp_path: Path) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    image = mobilesam.load(backend=backend, threads=1).embed(photo(tmp_path / "p.png"))
    for wrong in (
        {"points": [(1, 1), (2, 2)], "labels": [1]},
        {"box": (1, 2, 3)},
        {"points": [(float("nan"), 1)]},
        {"prior": np.zeros((3, 3))},
        {"points": []},
    ):
        with pytest.raises(mobilesam.PromptError):
            image.predict(**wrong)
        assert iou(image.predict(points=[CENTRE], multimask=False).best.array, disk()) > 0.95
