"""The embedded model: prompts, saved embeddings, and its own files."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np

import mobilesam
from tests.fuzz import seeds
from tests.fuzz.targets.common import SilentError, fresh, sums, sums_of, write


@cache
def predictor() -> mobilesam.Predictor:
    """The embedded model; one thread, since there is a process per core."""
    return mobilesam.load(backend="onnx", threads=1)


@cache
def embedded() -> mobilesam.ImageEmbedding:
    """A small photo."""
    return predictor().embed(seeds.RGB)


def embedding(data: bytes, folder: Path) -> None:
    """A saved embedding: what its checksums allow must be what was saved."""
    path = write(folder / "e.npz", data)
    loaded = predictor().load_embedding(path)
    found = loaded.predict(points=[(3, 3)], multimask=False)
    assert found.masks.shape[1:] == loaded.original_hw
    if sums(path) == sums_of(saved_embeddings()[0]) and not np.array_equal(loaded.array, embedded().array):
        raise SilentError("another embedding")


@cache
def saved_embeddings() -> list[bytes]:
    """The file of an embedding."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        embedded().save(Path(folder) / "e")
        return [(Path(folder) / "e").read_bytes()]


def pair_files() -> list[bytes]:
    """Each file of the embedded pair, after a line with its name."""
    folder = Path(mobilesam.__file__).parent / "builtin"
    return [path.name.encode() + b"\n" + path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


def pair(data: bytes, folder: Path) -> None:
    """A pair of which one file has changed; where it loads, it must compute the same."""
    name, _, content = data.partition(b"\n")
    inside = fresh(folder / "pair")
    for path in (Path(mobilesam.__file__).parent / "builtin").iterdir():
        if path.is_file() and path.name != name.decode():
            shutil.copy(path, inside)
    write(inside / name.decode(), content)
    loaded = mobilesam.load(inside, backend="onnx", threads=1, quick_start=True)
    found = loaded.embed(seeds.RGB).predict(points=[(3, 3)], multimask=False)
    if not np.array_equal(found.low_res, embedded().predict(points=[(3, 3)], multimask=False).low_res):
        raise SilentError("other numbers")


def prompt(data: bytes, folder: Path) -> None:
    """A call of the library with arguments of any kind."""
    spec = json.loads(data)
    call, arguments = spec["call"], spec["arguments"]
    if call == "settings":
        mobilesam.EverythingSettings(**arguments)
    elif call == "segment_everything":
        settings = mobilesam.EverythingSettings(points_per_side=1)
        mobilesam.segment_everything(predictor(), embedded(), settings=settings, **arguments)
    else:
        getattr(embedded(), call)(**arguments)
