from __future__ import annotations

import os
from pathlib import Path

import pytest

from mobilesam.files import replacing


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


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
