"""The rule for which files may be written: no input, and no file of somebody else, is ever replaced.

Everything that writes a result passes through `Outputs.check`, by way of `files.replacing`. A file is known to be ours
by a mark in it (`is_ours`), or, where its format has no place for one, by a line of the journal `.mobilesam.jsonl` in
its folder, which holds the name, the size and a checksum of each such file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilesam.errors import OutputError

MARK = "written by mobilesam"
"""In each picture, record and report that this package writes."""
SOFTWARE = {"software": MARK}
"""The mark as the first entry of a JSON object."""
JOURNAL = ".mobilesam.jsonl"
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
        if not self.overwrite and not is_ours(path):
            raise OutputError(
                f"'{path}' exists and was not written by mobilesam; move it, give another --output, or say "
                "--overwrite (overwrite=True)"
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
    """Whether this package wrote a file: it holds a mark, or the journal of its folder lists it as it is now."""
    try:
        head, tail = _ends(path)
        if any(sign in part for sign in _SIGNATURES for part in (head, tail)):
            return True
        journal = path.with_name(JOURNAL)
        if journal.exists() and _line(path.name, path) in journal.read_text(encoding="utf-8").splitlines():
            return True
        return path.suffix == ".json" and _is_record(path)
    except (OSError, ValueError, RecursionError):
        return False


def is_picture_of_ours(path: Path) -> bool:
    """Whether a picture has our mark, so that it is a result and not a photo."""
    try:
        return any(MARK.encode() in part for part in _ends(path))
    except OSError:
        return False


def note(path: Path, partial: Path) -> None:
    """List a file that can hold no mark in the journal of its folder, just before `partial` takes its name."""
    if path.suffix.lower() in MARKED or any(sign in part for sign in _SIGNATURES for part in _ends(partial)):
        return
    journal, line = path.with_name(JOURNAL), _line(path.name, partial)
    # A new file has no line yet: to look for it would read the whole journal once for each of many files.
    if not path.exists() or not journal.exists() or line not in journal.read_text(encoding="utf-8").splitlines():
        with journal.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def marked(record: Any) -> Any:
    """A JSON object with the mark as its first entry; anything else is returned unchanged."""
    return {**SOFTWARE, **record} if isinstance(record, dict) else record


def _is_record(path: Path) -> bool:
    """Whether a JSON file without a mark is a record of `everything` of an earlier version."""
    with path.open("rb") as file:
        record = json.load(file)
    return isinstance(record, dict) and isinstance(record.get("made_by"), str) and "annotations" in record


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


def _line(name: str, path: Path) -> str:
    head, tail = _ends(path)
    digest = hashlib.sha256(head + tail).hexdigest()[:32]
    return json.dumps([name, path.stat().st_size, digest])
