"""What the benchmarks run on: the embedded model, or MobileSAM's size with the stand-in weights of the tests."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoRef
from mobilesam.image import Rgb

ROOT = Path(__file__).parents[1]


def machine(threads: int, packages: Sequence[str]) -> str:
    """The line that every result needs: processor, threads and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{platform.machine()}, {threads} threads of {os.cpu_count()} cores, {versions}"


def pick_photos(pattern: str, count: int) -> Iterator[Rgb]:
    """Some annotated photos of a pattern of data sets, evenly spread."""
    photos = [item for item in read_all([pattern]) if isinstance(item, PhotoRef) and item.truth is not None]
    for photo in photos[:: max(1, len(photos) // count)][:count]:
        yield photo.open()


def make_pair(model: str, folder: Path) -> None:
    """The model under test as an exported pair, which is a checkpoint too."""
    sys.path.insert(0, str(ROOT))
    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint
    from mobilesam.weights import find_checkpoint
    from tests.helpers.networks import build

    sam = checkpoint.load(find_checkpoint("embedded")) if model == "embedded" else build("t")
    export_pair(sam, folder, licence="none")
