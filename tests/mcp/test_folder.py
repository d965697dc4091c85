"""Which paths an MCP server reads and writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mobilesam.errors import ImageError, OutputError, SettingsError
from mobilesam.mcp.folder import Folder, ForbiddenPathError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "photos"
    (root / "trip").mkdir(parents=True)
    (root / "trip" / "a.jpg").write_bytes(b"")
    (root / "b.png").write_bytes(b"")
    (tmp_path / "secret.png").write_bytes(b"")
    return Folder.open(root)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "trip/../../secret.png",
        "trip/../b.png",  # stays inside, but nobody needs it
        "..\\secret.png",
        "/etc/passwd",
        "",
        " ",
        "b.png\0.jpg",
        "x" * 5000,  # longer than any system allows
        "x" * 300 + "/b.png",
    ],
)
def test_a_path_out_of_the_folder_is_refused(folder: Folder, name: str) -> None:
    with pytest.raises(ForbiddenPathError):
        folder.photo(name)
    with pytest.raises(ForbiddenPathError):
        folder.results(name)


def test_absolute_paths_outside_of_the_folder_are_refused_and_those_inside_are_not(folder: Folder) -> None:
    with pytest.raises(ForbiddenPathError, match="outside"):
        folder.photo(str(folder.root.parent / "secret.png"))
    assert folder.photo(str(folder.root / "b.png")) == folder.photo("b.png")
    assert folder.name(folder.photo("trip/a.jpg")) == "trip/a.jpg"


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights there")
def test_symbolic_links_are_refused_wherever_they_are_in_a_path(folder: Folder) -> None:
    (folder.root / "link.png").symlink_to(folder.root.parent / "secret.png")
    (folder.root / "same.png").symlink_to("b.png")  # even one that stays inside, since what it leads to may change
    (folder.root / "out").symlink_to(folder.root.parent)
    for name in ("link.png", "same.png", "out/secret.png"):
        with pytest.raises(ForbiddenPathError, match="symbolic link"):
            folder.photo(name)
    with pytest.raises(ForbiddenPathError, match="symbolic link"):
        folder.results("out/results")
    assert not (folder.root.parent / "results").exists()


def test_a_missing_photo_is_answered_with_the_photos_there_are(folder: Folder) -> None:
    with pytest.raises(ImageError, match=r"no photo 'c.png'; there are: b.png$"):
        folder.photo("c.png")


def test_results_go_to_a_folder_and_not_over_a_file(folder: Folder) -> None:
    assert folder.results("new/deeper").is_dir()
    with pytest.raises(OutputError, match="is a file"):
        folder.results("b.png")


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a folder"):
        Folder.open(tmp_path / "none")
