"""The rule for which files may be written: no input, and no file of somebody else, is ever replaced.

Everything that writes a result passes through `Outputs.check`, by way of `files.replacing`. A file is known to be ours
by a mark in it (`is_ours`), or, where its format has no place for one or other programs save it too, by a line of the
journal of its folder (`mobilesam.journal`), which holds the name, the size and a checksum of each such file.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilesam import journal
from mobilesam.errors import OutputError

MARK = "written by mobilesam"
"""In each picture, record and report that this package writes."""
SOFTWARE = {"software": MARK}
"""The mark as the first entry of a JSON object."""
JOURNAL = journal.JOURNAL
MARKED = frozenset({".json", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".md"})
"""Suffixes of files that can hold the mark."""
ENDS = 4096  # bytes at both ends of a file that are searched for a mark
_SIGNATURES = (
    MARK.encode(),
    b'"mobilesam_config"',
    b"mobilesam-embedding-",
    b"contract_version",
    b"mobilesam-evaluate-",
)
"""What files of ours hold; apart from the mark: weights, embeddings, ONNX files and reports, of every version."""
_OF_TOOLS = re.compile(rb'"(?:shapes|images|predictions)"\s*:\s*\[|<annotations>')
"""What COCO, LabelMe, Label Studio and CVAT files hold. Labelling tools keep our mark when they save an edited file."""
_OVERLAP = 64  # bytes that two blocks of a file share, so that none of these words is cut in two


@dataclass(frozen=True)
class Outputs:
    """Decides which files one command or call may write."""

    inputs: frozenset[tuple[int, int]] = frozenset()
    """Device and inode of each file or folder that is read, so that links and other spellings are recognised."""
    overwrite: bool = False
    """Replace files of others too, but never an input."""
    names: dict[tuple[int, int], str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def beside(cls, inputs: Iterable[str | os.PathLike[str]], *, overwrite: bool = False) -> Outputs:
        """The rule for a command that reads these files and folders; paths that do not exist are left out.

        Of what a data set's folder holds, files of others and records with annotations count as inputs.
        """
        names = {key: os.fspath(path) for path in inputs if (key := identity(path)) is not None}
        return cls(frozenset(names), overwrite, names)

    def check(self, path: str | os.PathLike[str]) -> None:
        """Check that a file may be written.

        Raises:
            OutputError: its name is empty, it is an input, a file that this package did not write, or no file.
        """
        path = Path(path)
        if not path.name:
            raise OutputError("the name of the output is empty; give a file")
        key = identity(path)
        if key is not None and key in self.inputs:
            raise OutputError(
                f"'{path}' would overwrite the input '{self.names.get(key, path)}'; give another --output"
            )
        if not os.path.lexists(path):
            return
        if key is not None and not stat.S_ISREG(os.stat(path).st_mode):
            raise OutputError(f"'{path}' is a folder or a device and cannot be replaced by a file; give another name")
        if (folder := self._folder_of(path)) and (not is_ours(path) or _has_annotations(path)):
            raise OutputError(f"'{path}' lies in the input folder '{folder}'; give another --output")
        if not self.overwrite and (why := _not_ours(path)):
            raise OutputError(
                f"'{path}' exists and {why}; move it, give another --output, or say --overwrite (overwrite=True)"
            )

    def _folder_of(self, path: Path) -> str | None:
        """The input folder that a file lies in, however deep; None for none."""
        if not self.inputs:
            return None
        parents = (identity(parent) for parent in path.resolve().parents)
        return next((self.names.get(key, "") for key in parents if key in self.inputs and key is not None), None)

    def remove(self, path: Path) -> None:
        """Remove a file that is about to be written anew, under the same rule; a missing one is left alone."""
        self.check(path)
        path.unlink(missing_ok=True)


DEFAULT = Outputs()
"""The rule where no inputs are known."""
ALL = Outputs(overwrite=True)
"""For files whose folder is our own: the cache of models, the folder of a run."""


def identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Device and inode of what a path leads to; None if that does not exist."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_dev, state.st_ino


def is_ours(path: Path) -> bool:
    """Whether this package wrote a file: it holds a mark, or the journal of its folder lists it as it is now.

    One that the journal lists otherwise was edited and is not ours any more, whatever mark it holds. Annotation files
    of tools that keep the mark are ours only by the journal.
    """
    return not _not_ours(path)


def _not_ours(path: Path) -> str:
    """Why a file is not ours, for a message; "" where it is."""
    foreign = "was not written by mobilesam"
    try:
        listed = journal.is_listed(path)
        if listed is not None:
            return "" if listed else "was changed after mobilesam wrote it, perhaps corrected in another program"
        is_marked = any(sign in part for sign in _SIGNATURES for part in _ends(path))
        if not is_marked and not (path.suffix == ".json" and _is_record(path)):
            return foreign
        if _is_of_tools(path):
            return f"may hold corrections: {JOURNAL} in its folder does not tell how mobilesam wrote it"
    except (OSError, ValueError, RecursionError):
        return foreign
    return ""


def is_picture_of_ours(path: Path) -> bool:
    """Whether a picture has our mark or is listed in the journal, so that it is a result and not a photo."""
    try:
        return any(MARK.encode() in part for part in _ends(path)) or journal.is_listed(path) is True
    except (OSError, ValueError):
        return False


def note(path: Path, partial: Path) -> None:
    """List a file in the journal of its folder, just before `partial` takes its name.

    Files whose mark is enough are left out: pictures, records and models, which no other program edits with the mark.
    """
    is_marked = path.suffix.lower() in MARKED or any(sign in part for sign in _SIGNATURES for part in _ends(partial))
    if not is_marked or _is_of_tools(partial):
        journal.add(path, partial)


def marked(record: Any) -> Any:
    """A JSON object with the mark as its first entry; anything else is returned unchanged."""
    return {**SOFTWARE, **record} if isinstance(record, dict) else record


def _is_record(path: Path) -> bool:
    """Whether a JSON file without a mark is a record of `everything` of an earlier version."""
    with path.open("rb") as file:
        record = json.load(file)
    return isinstance(record, dict) and isinstance(record.get("made_by"), str) and "annotations" in record


def _is_of_tools(path: Path) -> bool:
    """Whether a file is of a format in which labelling tools save too."""
    if path.suffix.lower() not in (".json", ".xml"):
        return False
    before = b""
    with path.open("rb") as file:
        while block := file.read(journal.BLOCK):
            if _OF_TOOLS.search(before + block):
                return True
            before = block[-_OVERLAP:]
    return False


def _has_annotations(path: Path) -> bool:
    """Whether a JSON file is a record of masks, of ours or of others, which a data set may consist of."""
    return path.suffix == ".json" and any(b'"annotations"' in part for part in _ends(path))


def _ends(path: Path) -> tuple[bytes, bytes]:
    if not stat.S_ISREG(os.stat(path).st_mode):  # a FIFO would wait for its writer
        return b"", b""
    with path.open("rb") as file:
        head = file.read(ENDS)
        file.seek(max(0, os.fstat(file.fileno()).st_size - ENDS))
        return head, file.read()
