"""Paths that users name, as a run keeps them: found from any folder, and compared by where they lead."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mobilesam.remote import is_remote


def placed(path: str, *, is_pattern: bool = False) -> str:
    """A path as it is found from any folder; an address as it is.

    Links stay, since they may lead elsewhere on each machine; ".." goes only where that leads to the same place.

    Args:
        path: as the user named it.
        is_pattern: it is read as a shell pattern, unlike the name of the folder in which the command runs.
    """
    if is_remote(path):
        return path
    whole = os.path.expanduser(path)
    if not os.path.isabs(whole):
        here = str(Path.cwd())
        whole = os.path.join(glob.escape(here) if is_pattern else here, whole)
    whole, short = str(Path(whole)), os.path.normpath(whole)
    return short if os.path.realpath(short) == os.path.realpath(whole) else whole


def are_same(planned: Iterable[str], asked: Iterable[str]) -> bool:
    """Whether paths and addresses lead to the same places, in any order.

    Args:
        planned: those of a plan; a version before neither expanded "~" nor escaped the name of the folder.
        asked: by `placed`.
    """
    there, here = {_end(one): one for one in planned}, {_end(one): one for one in asked}
    old = [there[end] for end in there.keys() - here.keys()]
    new = [here[end] for end in here.keys() - there.keys()]
    if any(glob.glob(one) for one in old):  # as it is, it leads somewhere
        return False
    return {_end(_of_old(one)) for one in old} == {_end(_unescaped(one)) for one in new}


def in_list(value: list[str] | str | None) -> list[str]:
    """The paths of an entry of a plan: several, one, or none."""
    return value if isinstance(value, list) else [value] if value else []


def _of_old(path: str) -> str:
    """A path of an older plan, with the home folder that its "~" was meant to be."""
    home = -1 if is_remote(path) else path.find("/~")
    return _unescaped(path if home < 0 else os.path.expanduser(path[home + 1 :]))


def _unescaped(path: str) -> str:
    """Inverse of `glob.escape`."""
    return path if is_remote(path) else re.sub(r"\[([*?[])\]", r"\1", path)


def _end(path: str) -> str:
    return path if is_remote(path) else os.path.realpath(path)
