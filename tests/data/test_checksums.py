from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mobilesam.data.checksums import bytes_checksum, content_checksum, data_checksums, listing_checksum, state_checksum
from mobilesam.data.files import FileRef
from mobilesam.data.layouts import read
from mobilesam.data.photo import PhotoId, PhotoRef
from tests.helpers.scenes import save_picture
from tests.helpers.stores import HEADER


def test_a_listing_tells_names_sizes_and_order_and_not_the_data_sets_name() -> None:
    def listing(dataset: str, *photos: tuple[str, int]) -> str:
        return listing_checksum(PhotoRef(PhotoId(dataset, n), FileRef("x.tar", (0, size)), None) for n, size in photos)

    a = listing("x", ("a", 1), ("b", 2))
    assert a == listing("one/x.tar", ("a", 1), ("b", 2)) == "52fd8627"
    others = {listing("x", ("a", 1), ("b", 3)), listing("x", ("b", 2), ("a", 1)), listing("x", ("a", 1))}
    assert len(others - {a}) == 3
    mine, theirs = (replace(HEADER, shard=f"{name} {a}") for name in ("x", "one/x.tar"))
    assert mine.differences(theirs) == ""
    assert "shard is x 0, not x" in mine.differences(replace(HEADER, shard="x 0"))


def yolo(folder: Path) -> PhotoRef:
    save_picture(folder / "images" / "a.png", np.zeros((8, 8, 3), np.uint8))
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / "labels" / "a.txt").write_text("0 0.1 0.1 0.9 0.1 0.9 0.9\n")
    return only(folder)


def only(path: Path) -> PhotoRef:
    (photo,) = read(path)
    assert isinstance(photo, PhotoRef)
    return photo


def test_a_copy_of_a_photo_has_the_same_content_and_another_state(tmp_path: Path) -> None:
    one, two = yolo(tmp_path / "one"), yolo(tmp_path / "two")
    assert content_checksum(one) == content_checksum(two)
    assert state_checksum(one) == state_checksum(only(tmp_path / "one"))
    assert state_checksum(one) != state_checksum(two)


@pytest.mark.parametrize("file", ["images/a.png", "labels/a.txt"])
def test_a_file_that_was_written_again_has_another_state_and_a_longer_one_another_content(
    tmp_path: Path, file: str
) -> None:
    photo = yolo(tmp_path)
    content, state = content_checksum(photo), state_checksum(photo)
    os.utime(tmp_path / file, ns=(1, 1))
    assert content_checksum(photo) == content
    touched = state_checksum(photo)
    assert touched != state
    with (tmp_path / file).open("ab") as end:
        end.write(b"\n")
    assert content_checksum(photo) != content
    (tmp_path / file).unlink()
    assert content_checksum(photo) == bytes_checksum(photo) == state_checksum(photo) == ""


@pytest.mark.parametrize(("file", "place"), [("images/a.png", -20), ("labels/a.txt", 4)])
def test_one_changed_byte_of_a_photo_or_a_label_changes_the_checksum_of_bytes(
    tmp_path: Path, file: str, place: int
) -> None:
    one, two = yolo(tmp_path / "one"), yolo(tmp_path / "two")
    before = bytes_checksum(one)
    assert before
    assert bytes_checksum(two) == before
    encoded = bytearray((tmp_path / "one" / file).read_bytes())
    encoded[place] ^= 1
    (tmp_path / "one" / file).write_bytes(encoded)
    assert content_checksum(one) == content_checksum(two)
    assert bytes_checksum(one) != before


def test_the_checksum_of_bytes_of_a_member_of_a_tar_is_of_its_own_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"before" + b"photo" * 3 + b"after")
    (tmp_path / "y").write_bytes(b"photo" * 3)
    inside = PhotoRef(PhotoId("d", "a"), FileRef(str(tmp_path / "x"), (6, 15)), None)
    assert bytes_checksum(inside) == bytes_checksum(replace(inside, file=FileRef(str(tmp_path / "y"))))


def test_an_edited_record_of_a_coco_file_changes_its_own_photo_alone(tmp_path: Path) -> None:
    for name in "ab":
        save_picture(tmp_path / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    images = [{"id": name, "file_name": f"{name}.png"} for name in "ab"]
    annotations = [{"image_id": name, "id": name, "segmentation": [[0, 0, 5, 0, 5, 5]]} for name in "ab"]

    def states() -> list[str]:
        (tmp_path / "c.json").write_text(json.dumps({"images": images, "annotations": annotations}))
        return [state_checksum(item) for item in read(tmp_path / "c.json") if isinstance(item, PhotoRef)]

    before = states()
    annotations[1]["segmentation"] = [[0, 0, 5, 0, 5, 6]]
    after = states()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_the_checksum_of_a_data_set_depends_on_its_photos_and_not_on_their_order() -> None:
    a, b, other = PhotoId("d", "a"), PhotoId("d", "b"), PhotoId("e", "a")
    found = data_checksums([(a, "1"), (b, "2"), (other, "1")])
    assert set(found) == {"d", "e"}
    assert data_checksums([(other, "1"), (b, "2"), (a, "1")]) == found
    assert data_checksums([(a, "2"), (b, "1")])["d"] != found["d"]
    assert data_checksums([(a, "1")])["d"] != found["d"]
