"""What the benchmarks share: a command line with `--smoke`, models and photos to run on, the line about the machine."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilesam import processor
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoRef
from mobilesam.extras import is_installed
from mobilesam.image import Rgb

if TYPE_CHECKING:
    import torch

    from mobilesam import Predictor

ROOT = Path(__file__).parents[1]
MODELS = ("embedded", "mobile_sam", "tiny")
Words = Sequence[str]


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def parse(parser: argparse.ArgumentParser, smoke: Callable[[Path], Words]) -> argparse.Namespace:
    """Parse the command line. With `--smoke`, tiny sizes come first, so what is given besides still counts.

    Args:
        parser: the script's.
        smoke: makes the words of the smallest run, with an empty folder for its files, which is deleted at the end.
    """
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that the script runs, measures nothing")
    words = sys.argv[1:]
    if "--smoke" in words:
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        words = [*smoke(Path(folder)), *words]
    return parser.parse_args(words)


def in_process(module: str, words: Words, threads: int) -> Any:
    """Run a benchmark's part as a process of its own, and return what it prints as JSON in its last line.

    Args:
        module: such as "benchmarks.click".
        words: its command line.
        threads: per operator, for torch's OpenMP.
    """
    command = [sys.executable, "-m", module, *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def synthetic_shard(folder: Path, count: int = 4, *, scale: int = 1) -> str:
    """A shard of drawn photos with their masks, from two sources called "a" and "b", of `scale` times 96 px."""
    from tests.helpers.scenes import write_shard

    return str(write_shard(folder / "synthetic.tar", count, scale=scale))


def machine(threads: int, packages: Sequence[str]) -> str:
    """The line that every result needs: processor, threads, and versions of those packages that are installed."""
    versions = ", ".join(f"{found.name} {found.version}" for name in packages for found in distributions(name=name))
    return f"{processor.describe()}, {threads} threads of {os.cpu_count()} cores, {versions}"


def runs_here(kind: str) -> bool:
    """Whether a way to compute can be measured here: all can but OpenVINO, which may be missing or have no bfloat16.

    Args:
        kind: its name, and its precision if that is not float32: "onnx", "openvino:bfloat16".
    """
    backend, _, precision = kind.partition(":")
    if backend != "openvino":
        return True
    if not is_installed("openvino"):
        return False
    from mobilesam.predict.openvino import has_bfloat16

    return not precision or has_bfloat16()


def load_kind(folder: str | Path, kind: str, threads: int) -> Predictor:
    """Load a model to compute it in one way, as `runs_here` takes it; "auto" is the runtime of an export's format."""
    from mobilesam import load

    backend, _, precision = kind.partition(":")
    options: dict[str, Any] = {"backend": backend, "precision": precision or "float32"}
    return load(folder, threads=threads, **options)


def number_types() -> dict[str, torch.dtype]:
    """The number formats that this processor computes products in."""
    import torch

    from mobilesam.model.bfloat16 import has_bfloat16

    return {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if has_bfloat16() else {})


def pick_photos(pattern: str, count: int) -> Iterator[Rgb]:
    """Some annotated photos of a pattern of data sets, evenly spread."""
    photos = [item for item in read_all([pattern]) if isinstance(item, PhotoRef) and item.truth is not None]
    for photo in photos[:: max(1, len(photos) // count)][:count]:
        yield photo.open()


def make_pair(model: str, folder: Path) -> None:
    """Export a model as a pair, which is a checkpoint too.

    If the environment names a folder in MOBILESAM_BENCHMARK_PAIRS, the pair is exported to it once, and copied from
    there by every benchmark that asks for it again. Empty this folder when the export or the weights change.

    Args:
        model: "embedded"; "mobile_sam", which is MobileSAM's size with the made-up weights of the tests; or "tiny",
            the smallest size, with random weights.
        folder: where to.
    """
    kept = os.environ.get("MOBILESAM_BENCHMARK_PAIRS")
    if not kept:
        _export(model, folder)
        return
    if not (Path(kept) / model).is_dir():
        with tempfile.TemporaryDirectory(dir=kept) as draft:
            _export(model, Path(draft) / model)
            with contextlib.suppress(OSError):  # another benchmark was first
                (Path(draft) / model).rename(Path(kept) / model)
    shutil.copytree(Path(kept) / model, folder, dirs_exist_ok=True)


def _export(model: str, folder: Path) -> None:
    import torch

    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint
    from mobilesam.model.config import TINY_LITE
    from mobilesam.model.sam import Sam
    from mobilesam.weights import find_checkpoint
    from tests.helpers.networks import build

    torch.manual_seed(0)
    if model == "tiny":
        sam = Sam(TINY_LITE).eval()
    else:
        sam = checkpoint.load(find_checkpoint("embedded")) if model == "embedded" else build("t")
    export_pair(sam, folder, licence="none")
