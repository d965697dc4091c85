from __future__ import annotations

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


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*nowhere"), replacing(tmp_path / "nowhere" / "a.txt"):
        pass
