"""What the targets share: files in a folder, refusals, and checksums of zips."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mobilesam.errors import MobileSamError


class SilentError(Exception):
    """A changed file was accepted, and gave something else than the original."""


def refusal(call: Callable[[], Any]) -> MobileSamError | None:
    """The project's error that a call raises."""
    try:
        call()
    except MobileSamError as error:
        return error
    return None


def write(path: Path, data: bytes) -> Path:
    """A file, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def sums(path: Path) -> list[int]:
    with zipfile.ZipFile(path) as archive:
        return [member.CRC for member in archive.infolist()]


@cache
def sums_of(data: bytes) -> list[int]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [member.CRC for member in archive.infolist()]
