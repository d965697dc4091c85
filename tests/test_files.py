from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from mobilesam.cli.annotations import Annotations
from mobilesam.errors import ImageError
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.evaluate.worst import save_worst
from mobilesam.everything import write as everything_write
from mobilesam.files import make_folder, replacing, save_json, save_picture, save_text
from mobilesam.interchange.photo_masks import PhotoMasks
from mobilesam.masks import to_rle
from mobilesam.outputs import DEFAULT, JOURNAL, MARK
from mobilesam.predict.results import Mask
from mobilesam.tracking import write as tracking_write


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    save_text("old", target)

    def fail() -> None:
        with replacing(target) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [tmp_path / JOURNAL, target]


def test_a_good_write_takes_the_name_and_normal_permissions(tmp_path: Path) -> None:
    target, plain = tmp_path / "a.txt", tmp_path / "b.txt"
    plain.write_text("")
    with replacing(target) as partial:
        assert partial.suffix == ".txt"
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert target.stat().st_mode == plain.stat().st_mode


def test_the_umask_of_the_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(mask: int) -> int:
        raise AssertionError("another thread's new file would get it")

    monkeypatch.setattr(os, "umask", refuse)
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such permissions")
def test_a_strict_umask_holds(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with replacing(tmp_path / "a.txt") as partial:
            partial.write_text("new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o077 == 0


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*nowhere"), replacing(tmp_path / "nowhere" / "a.txt"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EIO])
def test_a_file_that_cannot_be_written_whole_is_named_once_and_keeps_the_number_of_its_error(
    tmp_path: Path, number: int
) -> None:
    inner, outer = tmp_path / "inner.txt", tmp_path / "outer.txt"
    with (
        pytest.raises(OSError, match=r"^cannot write '.*inner\.txt': \w") as caught,
        replacing(outer),
        replacing(inner),
    ):
        raise OSError(number, os.strerror(number))
    assert (caught.value.errno, "outer" in str(caught.value), list(tmp_path.iterdir())) == (number, False, [])


def test_errors_of_what_is_read_meanwhile_stay_as_they_are(tmp_path: Path) -> None:
    for error in (ConnectionResetError(errno.ECONNRESET, "reset"), FileNotFoundError(errno.ENOENT, "no", "photo.png")):
        with pytest.raises(OSError) as caught, replacing(tmp_path / "a.txt"):  # noqa: PT011
            raise error
        assert caught.value is error


def test_pictures_of_every_kind_are_saved(tmp_path: Path) -> None:
    mask = np.eye(8, dtype=bool)
    assert save_picture(mask, tmp_path / "mask.png") == tmp_path / "mask.png"
    with Image.open(tmp_path / "mask.png") as image:
        np.testing.assert_array_equal(np.asarray(image), mask * 255)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    save_picture(noise, tmp_path / "fine.jpg", quality=95)
    save_picture(Image.fromarray(noise), tmp_path / "coarse.jpg", quality=20)
    assert (tmp_path / "coarse.jpg").stat().st_size < (tmp_path / "fine.jpg").stat().st_size / 2


def test_a_format_that_cannot_hold_the_picture_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    transparent = Image.new("RGBA", (4, 4))
    for name in ("a.jpg", "a.xyz"):
        with pytest.raises(ImageError, match=r"use \.png"):
            save_picture(transparent, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_json_is_one_line(tmp_path: Path) -> None:
    text = save_json({"a": [1, 2]}, tmp_path / "a.json").read_text()
    assert text.count("\n") == 1
    assert json.loads(text) == {"software": MARK, "a": [1, 2]}


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can make a folder in /proc")
def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"^cannot make the folder '/proc/x': .*; give another --output$"):
        make_folder(Path("/proc/x"))


def annotations_in(folder: Path, *forms: Any) -> Annotations:
    """One photo's mask, still to be written to a folder."""
    photo = PhotoMasks("a.jpg", [Mask(to_rle(np.eye(4, dtype=bool)), 1.0)], (4, 4))
    return Annotations(forms, folder, "object", DEFAULT, [photo])


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can make a folder in /proc")
@pytest.mark.parametrize(
    "write",
    [
        lambda folder: everything_write.write(folder, "a", "a.jpg", np.zeros((4, 4, 3), np.uint8), [], (), {}),
        lambda folder: everything_write.write_masks(folder, []),
        lambda folder: tracking_write.Indexed(folder, DEFAULT),
        lambda folder: tracking_write.open_writers((), folder, "a", 1.0, DEFAULT, ExitStack()),
        lambda folder: save_worst([], EvaluateSettings(data=("x",), protocols=("box",)), cast("Any", None), folder, 1),
        lambda folder: annotations_in(folder, "cvat").finish(),
        lambda folder: annotations_in(folder, "labelme").add("a.jpg", "a", [], (4, 4)),
    ],
)
def test_every_verb_names_the_folder_that_it_cannot_make(write: Callable[[Path], object]) -> None:
    with pytest.raises(OSError, match=r"^cannot make the folder '/proc/x': .*; give another --output$"):
        write(Path("/proc/x"))


def test_a_file_in_the_way_of_a_folder_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "taken")
