"""What the benchmarks run on: the embedded model, or MobileSAM's size with the stand-in weights of the tests."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from mobilesam.shards import expand, index_shard, read_photo

from mobilesam.image import Rgb

ROOT = Path(__file__).parents[1]


def machine(threads: int, packages: Sequence[str]) -> str:
    """The line that every result needs: processor, threads and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{platform.machine()}, {threads} threads of {os.cpu_count()} cores, {versions}"


def pick_photos(shards: str, count: int) -> Iterator[Rgb]:
    """Some photos of a pattern of shards, evenly spread."""
    samples = [sample for shard in expand([shards]) for sample in index_shard(shard)]
    for sample in samples[:: max(1, len(samples) // count)][:count]:
        yield read_photo(sample).rgb


def make_pair(model: str, folder: Path) -> None:
    """The model under test as an exported pair, which is a checkpoint too."""
    sys.path.insert(0, str(ROOT))
    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint
    from mobilesam.weights import find_checkpoint
    from tests.helpers.networks import build

    sam = checkpoint.load(find_checkpoint("embedded")) if model == "embedded" else build("t")
    export_pair(sam, folder, licence="none")
