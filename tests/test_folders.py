from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.layouts import read
from mobilesam.data.photo import PhotoRef
from mobilesam.folders import files_below
from mobilesam.image import find_photos
from mobilesam.shards.inputs import read_photos


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in files_below(folder, lambda name: name.endswith(".png"))]


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_links_to_folders_are_followed_and_the_files_are_sorted(tmp_path: Path) -> None:
    for name in ("set/b/2.png", "set/c.png", "elsewhere/deep/1.png"):
        touch(tmp_path / name)
    (tmp_path / "set" / "a").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "set") == ["a/deep/1.png", "b/2.png", "c.png"]


def test_two_links_to_one_folder_are_two_folders(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "1.png")
    for link in ("set/train", "set/val"):
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "one")
    assert names(tmp_path / "set") == ["train/1.png", "val/1.png"]


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    for name in ("set/a/1.png", "set/b/2.png", "3.png"):
        touch(tmp_path / name)
    for link, target in (("a/up", tmp_path / "set"), ("b/above", tmp_path), ("a/self", tmp_path / "set" / "a")):
        (tmp_path / "set" / link).symlink_to(target)
    assert names(tmp_path / "set") == ["a/1.png", "b/2.png"]
    (tmp_path / "set" / "a" / "other").symlink_to(tmp_path / "set" / "b")
    (tmp_path / "set" / "b" / "other").symlink_to(tmp_path / "set" / "a")
    assert names(tmp_path / "set") == ["a/1.png", "a/other/2.png", "b/2.png", "b/other/1.png"]


def test_many_links_among_folders_take_no_exponential_time(tmp_path: Path) -> None:
    for i in range(16):
        touch(tmp_path / f"{i}" / "1.png")
        for link in ("x", "y"):
            (tmp_path / f"{i}" / link).symlink_to(tmp_path / f"{i + 1}")
    assert len(names(tmp_path)) == 16 + 2 * 15


def test_a_link_that_leads_nowhere_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "1.png")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path) == ["1.png"]


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints/1.png", "__MACOSX/images/1.png", "._1.png", ".1.png"])
def test_every_search_for_photos_leaves_hidden_files_out(tmp_path: Path, hidden: str) -> None:
    for name in ("images/0.png", f"images/{hidden}"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    touch(tmp_path / "labels" / "0.txt")
    assert [item.name for item in read(tmp_path)] == ["0.png"]
    assert [Path(path).name for path in find_photos([tmp_path], recursive=True)] == ["0.png"]
    assert [item.name for item in read_photos(tmp_path, "d")] == ["images/0.png"]


def test_the_photos_and_labels_of_linked_folders_belong_to_a_data_set(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        touch(tmp_path / "drive" / name / ("1.png" if name == "images" else "1.txt"))
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "train").symlink_to(tmp_path / "drive" / name)
    (photo,) = read(tmp_path / "set")
    assert isinstance(photo, PhotoRef)
    assert photo.name == "train/1.png"
    assert [Path(path).name for path in find_photos([tmp_path / "set"], recursive=True)] == ["1.png"]
    assert [item.name for item in read_photos(tmp_path / "set", "d")] == ["images/train/1.png"]
