"""What `mobilesam everything` and `segment` write is read back where it was drawn, by evaluation and by training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.decoded import read_photo
from mobilesam.data.layouts import is_known, read
from mobilesam.data.photo import PhotoRef, Problem
from mobilesam.data.survey import survey
from mobilesam.errors import DataError
from mobilesam.everything.results import FoundMask
from mobilesam.everything.write import write, write_coco
from mobilesam.files import save_picture
from mobilesam.image import open_photo
from mobilesam.masks import to_rle

HW = (120, 160)
Y, X = np.mgrid[: HW[0], : HW[1]]
OBJECT = (X > 100) & (X < 150) & (Y > 10) & (Y < 45)  # in one corner, so that no turn leaves it where it was
RED = np.where(OBJECT[..., None], (220, 30, 30), (30, 60, 90)).astype(np.uint8)


def turned(path: Path, orientation: int) -> np.ndarray:
    """Write a photo with an EXIF orientation; returns where the object lies on upright pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RED).save(path, exif=exif.tobytes())
    return found_in(open_photo(path))


def found_in(rgb: np.ndarray) -> np.ndarray:
    return (rgb[..., 0] > 120) & (rgb[..., 1] < 120)


def mask_of(pixels: np.ndarray) -> FoundMask:
    h, w = pixels.shape
    return FoundMask(to_rle(pixels), 0.9, stability_score=0.9, point_xy=(0.0, 0.0), crop_box_xyxy=(0, 0, w, h))


def written(folder: Path, photo: Path, masks: list[np.ndarray], form: str) -> Path:
    """The results of `everything` in one form, beside its record."""
    folder.mkdir(parents=True, exist_ok=True)
    rgb = open_photo(photo)
    found = [mask_of(mask) for mask in masks]
    made = {"photo": {"path": f"../{photo.parent.name}/{photo.name}", "size": 1, "mtime_ns": 1}, "made_by": "x"}
    write(folder, photo.stem, str(photo), rgb, found, [] if form in ("record", "coco") else [form], made)
    return folder


def read_form(form: str, root: Path, mask: np.ndarray) -> Path:
    """Write a form of the object's mask, and nothing that another reader could take in its place."""
    out, photo = root / "out", root / "in" / "a.png"
    if form == "segment":
        save_picture(mask, out_of(out) / "a_mask.png")
        shutil.copy(photo, out / "a.png")
        return out
    written(out, photo, [mask], form)
    if form == "coco":
        return write_coco(out, ["a"])
    if form == "yolo":
        (root / "in").rename(root / "images")
        out.rename(root / "labels")
        return root
    if form != "record":
        (out / "a.json").unlink()
    if form == "labels":
        shutil.copy(photo, out / "a.png")
    return out


def out_of(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


FORMS = ["record", "labelme", "labels", "yolo", "coco", "segment"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_we_write_is_read_back_where_it_was_drawn(tmp_path: Path, form: str, orientation: int) -> None:
    mask = turned(tmp_path / "in" / "a.png", orientation)
    path = read_form(form, tmp_path, mask)
    found = survey([str(path)], photos=tmp_path / "in" if form == "coco" else None)
    (photo,) = found.photos
    assert found.problems == ()
    rgb = photo.open()  # as evaluation opens it
    (one,) = photo.annotation().objects
    assert iou(one.mask(rgb.shape[:2]), found_in(rgb)) >= 0.99
    decoded = read_photo(photo)  # as training reads it
    assert iou(decoded.mask(0), found_in(decoded.rgb)) >= 0.99


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("beside", [False, True])
def test_three_hundred_masks_of_a_label_picture_are_three_hundred_objects(tmp_path: Path, beside: bool) -> None:
    turned(tmp_path / "in" / "a.png", 1)
    squares = [np.zeros(HW, bool) for _ in range(300)]
    for i, square in enumerate(squares):
        square[i // 30 * 6 : i // 30 * 6 + 4, i % 30 * 5 : i % 30 * 5 + 4] = True
    out = written(tmp_path / "out", tmp_path / "in" / "a.png", squares, "labels")
    (out / "a.json").unlink()
    shutil.copy(tmp_path / "in" / "a.png", out / "a.png")
    if not beside:  # under the names of Pascal VOC
        (out / "a_labels.png").rename(tmp_path / "a.png")
        (tmp_path / "set" / "SegmentationObject").mkdir(parents=True)
        (tmp_path / "a.png").rename(tmp_path / "set" / "SegmentationObject" / "a.png")
        (tmp_path / "in").rename(tmp_path / "set" / "JPEGImages")
        out = tmp_path / "set"
    (photo,) = read(out)
    assert isinstance(photo, PhotoRef)
    objects = photo.annotation().objects
    assert len(objects) == 300
    np.testing.assert_array_equal(objects[254].mask(HW), squares[254])


def test_corrections_in_labelme_count_before_the_record(tmp_path: Path) -> None:
    mask = turned(tmp_path / "in" / "a.png", 1)
    out = written(tmp_path / "out", tmp_path / "in" / "a.png", [mask], "labelme")
    assert len(list(read(out))) == 1
    corrected = json.loads((out / "a_labelme.json").read_text())
    corrected["shapes"][0]["points"] = [[0, 0], [20, 0], [20, 20], [0, 20]]
    (out / "a_labelme.json").write_text(json.dumps(corrected))
    (photo,) = read(out)
    assert isinstance(photo, PhotoRef)
    assert photo.name == "a"
    assert photo.annotation().objects[0].mask(HW).sum() == 400


@pytest.mark.parametrize(
    ("change", "is_found"),
    [
        (lambda path: path.replace("/", "\\"), True),
        (lambda path: str(Path(path).name), False),
        (lambda path: "", False),
        (lambda path: 7, False),
    ],
)
def test_the_photo_of_a_labelme_file_is_the_one_that_it_names(
    tmp_path: Path, change: Callable[[str], object], is_found: bool
) -> None:
    mask = turned(tmp_path / "in" / "a.png", 1)
    out = written(tmp_path / "out", tmp_path / "in" / "a.png", [mask], "labelme")
    (out / "a.json").unlink()
    record = json.loads((out / "a_labelme.json").read_text())
    record["imagePath"] = change(record["imagePath"])
    (out / "a_labelme.json").write_text(json.dumps(record))
    (item,) = read(out)
    assert isinstance(item, PhotoRef if is_found else Problem)


def test_photos_among_results_are_told_from_pictures_that_we_wrote(tmp_path: Path) -> None:
    mask = turned(tmp_path / "set" / "a.png", 1)
    turned(tmp_path / "set" / "b.png", 1)
    folder = tmp_path / "set"
    for form in ("labels", "overlay", "labelme"):
        written(folder, folder / "a.png", [mask], form)
    write_coco(folder, ["a"])
    items = {item.name: item for item in read(folder)}
    assert sorted(items) == ["a", "b"]
    assert isinstance(items["a"], PhotoRef)
    assert isinstance(items["b"], Problem)
    assert is_known(folder)


def test_a_folder_of_photos_with_a_mask_of_one_is_a_data_set_only_where_masks_are_asked_for(tmp_path: Path) -> None:
    save_picture(turned(tmp_path / "a.png", 1), tmp_path / "a_mask.png")
    assert not is_known(tmp_path)
    assert len(list(read(tmp_path))) == 1


def test_a_record_that_is_damaged_or_names_no_photo_is_no_layout(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 10_000)
    (tmp_path / "b.json").write_text('{"imagePath": "gone.jpg", "shapes": []}')
    with pytest.raises(DataError, match="no known layout"):
        list(read(tmp_path))
