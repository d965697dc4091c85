from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.data.layouts import read
from mobilesam.data.pairs import NO_PHOTO, SECOND, SEVERAL
from mobilesam.data.photo import Item, PhotoRef, Problem
from mobilesam.data.survey import survey
from mobilesam.files import save_picture as save_result
from tests.helpers.scenes import add_member, draw_scene, save_picture

RGB, (DISC, SQUARE) = draw_scene(np.random.default_rng(0))
LABEL_LAYOUTS = [
    ("data_GT", "boundary_GT"),
    ("images", "masks"),
    ("img", "gt"),
    ("JPEGImages", "Annotations"),
    ("JPEGImages", "SegmentationObject"),
]


def label(mask: np.ndarray, value: int = 7) -> np.ndarray:
    return mask.astype(np.uint8) * value


def reasons(items: list[Item]) -> dict[str, str]:
    return {item.name: item.reason for item in items if isinstance(item, Problem)}


def photos(items: list[Item]) -> dict[str, PhotoRef]:
    return {item.name: item for item in items if isinstance(item, PhotoRef)}


@pytest.mark.parametrize("folders", LABEL_LAYOUTS)
def test_a_photo_gets_the_label_picture_of_its_own_stem(tmp_path: Path, folders: tuple[str, str]) -> None:
    for name, mask in (("a", DISC), ("a.b", SQUARE)):
        save_picture(tmp_path / folders[0] / f"{name}.jpg", RGB)
        value = 255 if folders[1] == "boundary_GT" else 7
        save_picture(tmp_path / folders[1] / f"{name}.png", label(mask, value))
    found = photos(list(read(tmp_path)))
    assert set(found) == {"a.jpg", "a.b.jpg"}
    for name, mask in (("a.jpg", DISC), ("a.b.jpg", SQUARE)):
        (one,) = found[name].annotation().objects
        np.testing.assert_array_equal(one.mask((96, 96)), mask)


@pytest.mark.parametrize("folders", LABEL_LAYOUTS)
def test_a_photo_without_a_label_picture_does_not_get_its_neighbours(tmp_path: Path, folders: tuple[str, str]) -> None:
    save_picture(tmp_path / folders[0] / "frame.jpg", RGB)
    save_picture(tmp_path / folders[1] / "frame.1.png", label(DISC))
    items = list(read(tmp_path))
    assert not photos(items)
    named = reasons(items)
    assert named.pop("frame.1.png").startswith((NO_PHOTO, "no photo in"))
    assert all(why.startswith("no annotation of its name in") for why in named.values())


@pytest.mark.parametrize("folders", [*LABEL_LAYOUTS, ("leftImg8bit", "gtFine"), ("images", "labels")])
def test_an_annotation_whose_photo_is_gone_is_named(tmp_path: Path, folders: tuple[str, str]) -> None:
    ends = ("_leftImg8bit", "_gtFine_instanceIds") if folders[1] == "gtFine" else ("", "")
    kind = ".txt" if folders[1] == "labels" else ".png"
    save_picture(tmp_path / folders[0] / "val" / f"a{ends[0]}.jpg", RGB)
    for name in ("a", "b"):
        save_picture(tmp_path / folders[1] / "val" / f"{name}{ends[1]}.png", label(DISC))
        if kind == ".txt":
            (tmp_path / "labels" / "val" / f"{name}.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    items = list(read(tmp_path))
    assert set(photos(items)) == {f"val/a{ends[0]}.jpg"}
    assert list(reasons(items)) == [f"val/b{ends[1]}{kind}"]


def test_the_list_of_classes_beside_yolos_labels_is_no_label(tmp_path: Path) -> None:
    save_picture(tmp_path / "images" / "a.jpg", RGB)
    (tmp_path / "labels").mkdir()
    for name, text in (("a", "0 0.1 0.1 0.9 0.1 0.9 0.9\n"), ("classes", "cat\ndog\n")):
        (tmp_path / "labels" / f"{name}.txt").write_text(text)
    assert [item.name for item in read(tmp_path) if isinstance(item, PhotoRef)] == [
        item.name for item in read(tmp_path)
    ]


def test_suffixes_of_photos_and_annotations_may_be_in_upper_case(tmp_path: Path) -> None:
    save_picture(tmp_path / "yolo" / "images" / "a.JPG", RGB)
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "labels" / "a.TXT").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    members = {"a.JPG": PICTURES["jpg"], "a.JSON": record()}
    (tmp_path / "flat").mkdir()
    for name, data in members.items():
        (tmp_path / "flat" / name).write_bytes(data)
    with tarfile.open(tmp_path / "s.TAR", "w") as tar:
        for name, data in members.items():
            add_member(tar, name, data)
    listed = {"images": [{"id": 1, "file_name": "flat/a.JPG", "height": 96, "width": 96}], "categories": []}
    one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": masks.to_rle(DISC)}
    (tmp_path / "c.JSON").write_text(json.dumps({**listed, "annotations": [one]}))
    for name in ("yolo", "flat", "s.TAR", "c.JSON"):
        (photo,) = read(tmp_path / name)
        assert isinstance(photo, PhotoRef), name
        assert len(photo.annotation().objects) == 1, name


@pytest.mark.parametrize("folders", LABEL_LAYOUTS)
def test_two_label_pictures_of_one_photo_are_a_problem(tmp_path: Path, folders: tuple[str, str]) -> None:
    save_picture(tmp_path / folders[0] / "a.jpg", RGB)
    for suffix, mask in (("png", DISC), ("bmp", SQUARE)):
        save_picture(tmp_path / folders[1] / f"a.{suffix}", label(mask))
    problems = list(read(tmp_path))
    assert not photos(problems)
    assert set(reasons(problems).values()) == {SEVERAL}


def test_files_of_other_kinds_beside_the_label_picture_do_not_count(tmp_path: Path) -> None:
    save_picture(tmp_path / "images" / "a.jpg", RGB)
    save_picture(tmp_path / "masks" / "a.png", label(DISC))
    (tmp_path / "masks" / "a.json").write_text("{}")
    assert set(photos(list(read(tmp_path)))) == {"a.jpg"}


@pytest.mark.parametrize("folders", [*LABEL_LAYOUTS, ("images", "labels")])
def test_one_annotation_file_is_not_given_to_two_photos(tmp_path: Path, folders: tuple[str, str]) -> None:
    for suffix in ("bmp", "jpg"):
        save_picture(tmp_path / folders[0] / f"a.{suffix}", RGB)
    if folders[1] == "labels":
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    else:
        save_picture(tmp_path / folders[1] / "a.png", label(DISC))
    items = list(read(tmp_path))
    assert set(photos(items)) == {"a.jpg"}, "JPEG comes first"
    assert reasons(items) == {"a.bmp": SECOND}


def test_a_folder_of_label_pictures_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdef":
        save_picture(tmp_path / "images" / f"{name}.jpg", RGB)
        save_picture(tmp_path / "masks" / f"{name}.png", label(DISC))
    listed = []
    original = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(Path(folder)) or original(folder))
    assert len(list(read(tmp_path))) == 6
    assert listed.count(tmp_path / "masks") == 1, "time is linear in the number of photos"


def encoded(rgb: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind)
    return file.getvalue()


def record(**more: object) -> bytes:
    return json.dumps({"annotations": [{"id": 1, "segmentation": masks.to_rle(DISC)}], **more}).encode()


PICTURES = {"jpg": encoded(RGB, "JPEG"), "png": encoded(label(DISC), "PNG"), "bmp": encoded(RGB, "BMP")}


def both(members: dict[str, bytes], folder: Path) -> tuple[list[Item], list[Item]]:
    """What is read from a tar of these members, and from a folder that it was extracted to."""
    (folder / "set").mkdir()
    with tarfile.open(folder / "set.tar", "w") as tar:
        for name, data in members.items():
            add_member(tar, name, data)
            (folder / "set" / name).write_bytes(data)
    return list(read(folder / "set.tar")), list(read(folder / "set"))


@pytest.mark.parametrize("order", [("jpg", "png"), ("png", "jpg"), ("png", "bmp", "jpg")])
def test_of_two_photos_of_one_stem_the_jpeg_is_used_and_the_other_named(tmp_path: Path, order: tuple[str, ...]) -> None:
    members = {f"a.{suffix}": PICTURES[suffix] for suffix in order} | {"a.json": record()}
    for items in both(members, tmp_path):
        np.testing.assert_array_equal(photos(items)["a"].open().std() > 10, True)
        assert reasons(items) == {f"a.{suffix}": SECOND for suffix in order if suffix != "jpg"}
        assert photos(items)["a"].file.num_bytes == len(PICTURES["jpg"])


@pytest.mark.parametrize("named", [{"image": {"file_name": "a.bmp"}}, {"imagePath": "..\\photos\\a.bmp", "shapes": []}])
def test_the_photo_that_the_record_names_is_used(tmp_path: Path, named: dict[str, object]) -> None:
    members = {"a.jpg": PICTURES["jpg"], "a.bmp": PICTURES["bmp"], "a.json": record(**named)}
    for items in both(members, tmp_path):
        assert photos(items)["a"].file.num_bytes == len(PICTURES["bmp"])
        assert reasons(items) == {"a.jpg": SECOND}


@pytest.mark.parametrize("broken", [b"{", b"[]", b'{"image": 3}', b'{"image": {}}', b'{"imagePath": null}'])
def test_a_record_that_names_no_photo_leaves_the_order_of_suffixes(tmp_path: Path, broken: bytes) -> None:
    for items in both({"a.png": PICTURES["png"], "a.jpg": PICTURES["jpg"], "a.json": broken}, tmp_path):
        assert photos(items)["a"].file.num_bytes == len(PICTURES["jpg"])


def test_photos_without_a_record_and_records_without_a_photo_are_named_in_folders_and_tars(tmp_path: Path) -> None:
    members = {"a.jpg": PICTURES["jpg"], "a.json": record(), "b.jpg": PICTURES["jpg"], "c.json": record()}
    for items in both(members, tmp_path):
        assert list(photos(items)) == ["a", "b"]
        assert reasons(items) == {"c": NO_PHOTO}
    for name in ("set.tar", "set"):
        skipped = {str(id): why for why, ids in survey([str(tmp_path / name)]).skipped.items() for id in ids}
        assert skipped == {"set/b": "no annotation beside the photo", "set/c": NO_PHOTO}


def test_pictures_that_this_package_wrote_beside_the_photos_are_no_photos(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(PICTURES["jpg"])
    (tmp_path / "a.json").write_bytes(record())
    save_result(RGB, tmp_path / "a_overlay.jpg")
    assert [item.name for item in read(tmp_path)] == ["a"]


def test_of_two_members_of_one_name_the_last_counts_as_when_a_tar_is_extracted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for data in (b"old", PICTURES["jpg"]):
            add_member(tar, "a.jpg", data)
        add_member(tar, "a.json", record())
    (photo,) = read(tmp_path / "s.tar")
    assert photo.open().shape == RGB.shape
