"""The list of files that this package wrote into a folder and that others may edit: `.mobilesam.jsonl`.

A line holds a name, a size and a checksum. It is appended just before the file gets its name, so a file has as many
lines as it was written with different contents, and is ours as it is now if one of them fits.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

JOURNAL = ".mobilesam.jsonl"
BLOCK = 1 << 20  # bytes that are read at once
TAIL = 256  # bytes of a journal by which it is recognised
MOST_FOLDERS = 16  # whose journals are kept in memory
_EARLIER = 32  # digits of a checksum of earlier versions, which is of both ends of the file
_EARLIER_END = 4096  # bytes of each end
Entry = tuple[int, str]
"""Size and checksum."""


@dataclass
class _Read:
    """What was read of one journal so far; it only grows, so that the next look reads the new lines alone."""

    inode: int
    mtime_ns: int = 0
    offset: int = 0
    tail: bytes = b""
    """The last bytes before the offset, by which another file under the same name and inode is told."""
    entries: dict[str, set[Entry]] = field(default_factory=lambda: defaultdict(set))


_cache: OrderedDict[Path, _Read] = OrderedDict()
_lock = threading.Lock()


def is_listed(path: Path) -> bool | None:
    """Whether the journal of a file's folder lists the file as it is now; None where it does not know its name.

    Raises:
        OSError: the journal or the file cannot be read.
    """
    with _lock:
        entries = set(_entries(_journal_of(path)).get(path.name, ()))
    if not entries:
        return None
    size = path.stat().st_size
    fitting = {digest for listed, digest in entries if listed == size}
    return bool(fitting) and not fitting.isdisjoint(_digests(path, fitting))


def add(path: Path, content: Path) -> None:
    """List a file that is about to get the content of another one; nothing is added where it is listed so already.

    Raises:
        OSError: a file cannot be read or written.
    """
    journal = _journal_of(path)
    entry = (content.stat().st_size, _whole(content))
    with _lock:
        # A new name has no line yet: to look for it would read the whole journal of a large folder for nothing.
        if path.exists() and entry in _entries(journal).get(path.name, ()):
            return
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([path.name, *entry]) + "\n")


def _journal_of(path: Path) -> Path:
    # Absolute, since it is a key of the cache, and the working directory may change.
    return Path(os.path.abspath(path)).with_name(JOURNAL)


def _entries(journal: Path) -> dict[str, set[Entry]]:
    """The entries of a journal by file name; lines that are damaged are left out."""
    try:
        state = journal.stat()
    except FileNotFoundError:
        _cache.pop(journal, None)
        return {}
    read = _cache.get(journal)
    if read is not None and (read.inode, read.mtime_ns) == (state.st_ino, state.st_mtime_ns):
        return read.entries
    with journal.open("rb") as file:
        if read is None or not _goes_on(file, read, state):
            read = _cache[journal] = _Read(state.st_ino)
        file.seek(read.offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]  # another process may be writing the last line
    for line in whole.splitlines():
        try:
            name, size, digest = json.loads(line)
            read.entries[name].add((int(size), str(digest)))
        except (ValueError, TypeError, RecursionError):
            continue
    read.mtime_ns, read.offset = state.st_mtime_ns, read.offset + len(whole)
    read.tail = (read.tail + whole)[-TAIL:]
    _cache.move_to_end(journal)
    while len(_cache) > MOST_FOLDERS:
        _cache.popitem(last=False)
    return read.entries


def _goes_on(file: BinaryIO, read: _Read, state: os.stat_result) -> bool:
    """Whether an open journal is the one that was read before, with more lines."""
    if read.inode != state.st_ino or read.offset > state.st_size:
        return False
    file.seek(read.offset - len(read.tail))
    return file.read(len(read.tail)) == read.tail


def _digests(path: Path, wanted: set[str]) -> set[str]:
    """The checksums of a file, of the kinds that are wanted."""
    found = {_ends(path)} if any(len(digest) == _EARLIER for digest in wanted) else set()
    return found | ({_whole(path)} if any(len(digest) != _EARLIER for digest in wanted) else set())


def _whole(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _ends(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_EARLIER_END)
        file.seek(max(0, path.stat().st_size - _EARLIER_END))
        return hashlib.sha256(head + file.read()).hexdigest()[:_EARLIER]
