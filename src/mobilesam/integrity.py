"""Checksums of model files, and error messages for files that are damaged or of another kind.

`model.json` of an exported pair carries the sha256 of every other file of its folder, under `sha256`. Pairs from before
that have no such entry; they load, and cannot be verified.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mobilesam import contract
from mobilesam.errors import ModelError

HASHES = "sha256"
"""Key of model.json: file name → sha256."""
SOURCE = "source_sha256"
"""Key of model.json: sha256 of the published checkpoint that a pair was converted from."""

CHECKPOINTS = ("onnx", "sam", "anylabeling", "hub")
"""Formats of `mobilesam export` whose folder holds the graphs with the weights,"""
EXACT = ("float32", "float16")
"""in these precisions; there `weights_sha256` is of the numbers as they are stored."""

_BLOCK = 2**20
_HEAD = 512  # bytes from which the kind of a file is recognised
_LFS = b"version https://git-lfs"
_WEB = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")
_GIT = ("fatal:", "error:", "remote:", "warning:", "hint:")


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def read_card(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read model.json of an exported pair; empty where there is none.

    Raises:
        ModelError: it is damaged.
    """
    path = Path(folder) / contract.CARD_FILE
    try:
        card = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged{described(path)}; export the model again") from error
    hashes = card.get(HASHES, {}) if isinstance(card, dict) else None
    if not isinstance(hashes, dict) or not all(isinstance(value, str) for value in hashes.values()):
        raise ModelError(f"{path} is damaged: '{HASHES}' must give each file's sha256; export the model again")
    return card


def check_files(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> list[str]:
    """Compare files of an exported pair with the sha256 that its model.json gives.

    Args:
        folder: of the pair.
        names: which files; all that model.json lists when None. The external data of a graph (NAME.data) is included.

    Returns:
        The files that were compared; none where model.json gives no sha256.

    Raises:
        ModelError: a file differs or is missing, or model.json lists others but not one of `names`.
    """
    folder = Path(folder)
    hashes: dict[str, str] = read_card(folder).get(HASHES, {})
    if not hashes:
        return []
    wanted = list(hashes) if names is None else [n for name in names for n in (name, f"{name}.data")]
    found = []
    for name in wanted:
        path = folder / name
        if name not in hashes and not path.exists():
            continue
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
            raise ModelError(f"{path} is missing; export the model again, or delete {folder} and download it again")
        if file_sha256(path) != hashes.get(name):
            raise ModelError(
                f"{path} is damaged or replaced{described(path)}: its sha256 is not the one in {contract.CARD_FILE}; "
                f"export the model again, or delete {folder} and download it again"
            )
        found.append(name)
    return found


def described(path: Path) -> str:
    """Describe a file that cannot be a model, such as " (it is a Git LFS pointer ...)"; empty where it is unclear."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    what = _what_is(head)
    return f" (it is {what})" if what else ""


def _what_is(head: bytes) -> str:
    """Name the kind of file by its first bytes; empty where it may be a model."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return "empty" if not head else ""
    if start.startswith(_LFS):
        return "a Git LFS pointer, not the file it stands for: run 'git lfs pull', or download the file itself"
    if start[:10].lower().startswith(_WEB):
        return "a web page, as a server sends in place of a file: open the address in a browser, and save the file"
    try:
        text = start.decode()
    except UnicodeDecodeError:
        return ""
    if not text.replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable():
        return ""
    line = text.splitlines()[0][:80]
    kind = "a message of Git" if line.lower().startswith(_GIT) else "a text"
    return f"{kind}, '{line}': download the file again"
