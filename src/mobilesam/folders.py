"""Walk through a folder and its subfolders, by one rule wherever photos or annotations are searched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

ARCHIVED = "__MACOSX"
"""Folder that macOS adds to archives; it holds no photo but a `._NAME` beside each."""


def walk(
    folder: str | os.PathLike[str], *, recursive: bool = True, tell: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Go through a folder and its subfolders as `os.walk` does, without hidden files and folders.

    Links to folders are followed, after the folders themselves: each link once, and none that leads to a folder that
    it lies in, so that the walk ends whatever leads where.

    Args:
        folder: where to begin; it may be hidden or a link itself.
        recursive: go into subfolders.
        tell: gets the error of each folder that cannot be listed; None to leave such folders out.

    Yields:
        A folder, the names of its subfolders and of its files, each sorted. A subfolder that is taken out of the list
        is left out.
    """
    waiting, followed = [os.fspath(folder)], set[tuple[int, int]]()
    for top in waiting:  # links are added on the way
        for here, folders, files in os.walk(top, onerror=tell):
            folders[:] = sorted(filter(_is_shown, folders)) if recursive else []
            yield here, folders, sorted(filter(_is_shown, files))
            for path in (os.path.join(here, one) for one in folders):
                if not os.path.islink(path) or _leads_up(Path(path), Path(folder)):
                    continue
                status = os.lstat(path)
                if (link := (status.st_dev, status.st_ino)) not in followed:
                    followed.add(link)
                    waiting.append(path)


def files_below(folder: Path, wanted: Callable[[str], bool], *, recursive: bool = True) -> list[Path]:
    """The files of a folder and its subfolders whose names are wanted, sorted; see `walk`."""
    found = walk(folder, recursive=recursive)
    return sorted(Path(here, name) for here, _, files in found for name in files if wanted(name))


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name != ARCHIVED


def _leads_up(link: Path, top: Path) -> bool:
    """Whether a link leads to a folder that it lies in, by its real path or by the links that led to it."""
    target = link.resolve()
    above = [one for one in link.parents if one == top or one.is_relative_to(top)]
    return any(one.resolve().is_relative_to(target) for one in above)
