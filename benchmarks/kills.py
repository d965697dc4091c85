"""Commands killed at random moments: what is left, and does the same command finish the work?

    python -m benchmarks.kills [--times 20] [--photos 24] [--verbs segment,everything,embed,train,evaluate]

Each verb runs undisturbed. Then it is started --times times, each in a new folder, and killed after a random share (0.3
to 1) of the time of that run, by SIGKILL, SIGTERM and SIGINT in turn. What is left is looked at: inputs must be
unchanged, and every file under its final name must be whole (pictures decode, JSON parses, weights and stores are
read). Then the same command (with --resume for `train`) must end with exit code 0, and leave the results of the
undisturbed run. It fails if any of this does not hold. Temporary files may be left by a kill; the next run must remove
them.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import ROOT, machine, make_parser, parse, synthetic_shard
from mobilesam.tables import table

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TEMPORARY = ".mobilesam-"
RECIPE = """
model = "tiny"
[data]
paths = ["in/synthetic.tar"]
masks_per_photo = 2
[run]
output = "out"
steps = 12
batch_size = 2
workers = 0
accelerator = "cpu"
checkpoint_every = 2
log_every = 2
report = false
"""
EMBED = """
method = "decoupled"
[teacher]
checkpoint = "in/teacher.safetensors"
batch_size = 2
[store]
path = "out"
shard_photos = 2
[data]
paths = ["in/synthetic.tar"]
"""


@dataclass(frozen=True)
class Verb:
    """A command, and which of its results must be the same after a kill."""

    words: tuple[str, ...]
    results: tuple[str, ...]
    """Patterns of files whose contents are compared."""
    resumed: tuple[str, ...] = ()
    """What is added where the folder of results is there already."""


VERBS = {
    "segment": Verb(
        ("segment", "in/photos", "--box", "10,10,90,90", "--cutout", "-o", "out", "-w", "labelme", "--backend", "onnx"),
        ("*.png", "*.json"),
    ),
    "everything": Verb(
        ("everything", "in/photos", "-o", "out", "--points-per-side", "3", "-w", "labels", "-w", "coco"),
        ("*.png", "*.json"),
    ),
    "embed": Verb(("distill", "embed", "in/embed.toml", "--workers", "1"), ("shards/*.npz",)),
    "train": Verb(("train", "in/train.toml"), ("weights.safetensors",), ("--resume",)),
    "evaluate": Verb(
        ("evaluate", "in/synthetic.tar", "-p", "box", "-p", "click", "-o", "out/r.json", "--backend", "onnx"),
        ("r.json",),
    ),
}


def draw(folder: Path, photos: int) -> None:
    """Make the inputs of all verbs."""
    from tests.helpers.scenes import draw_scene, save_picture

    for i in range(photos):
        save_picture(folder / "photos" / f"{i:03}.png", draw_scene(np.random.default_rng(i))[0])
    synthetic_shard(folder, photos)
    (folder / "train.toml").write_text(RECIPE)
    (folder / "embed.toml").write_text(EMBED)


def draw_teacher(path: Path) -> None:
    """A network of random weights, to embed with."""
    import torch

    from mobilesam.model import checkpoint
    from mobilesam.model.config import CONFIGS
    from mobilesam.model.sam import Sam

    torch.manual_seed(0)
    checkpoint.save(Sam(CONFIGS["tiny"]).eval(), path)


def start(words: tuple[str, ...], folder: Path) -> subprocess.Popen[bytes]:
    """Start the command line in a process group of its own."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "mobilesam", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(words: tuple[str, ...], folder: Path) -> float:
    """Run a command to its end, which must be good; returns the seconds it took."""
    began = time.perf_counter()
    process = start(words, folder)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}\n{said.decode()}")
    return time.perf_counter() - began


def checksums(folder: Path, patterns: tuple[str, ...] = ("**/*",)) -> dict[str, str]:
    """Checksum of each file by its path; of a report, without what differs between two runs."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): hashlib.sha256(content(path)).hexdigest() for path in sorted(found)}


def content(path: Path) -> bytes:
    """The bytes of a result, without times."""
    data = path.read_bytes()
    if path.name != "r.json":
        return data
    record = json.loads(data)
    return json.dumps({key: value for key, value in record.items() if key != "run"}).encode()


def torn(folder: Path) -> list[str]:
    """The files under their final names that are not whole."""
    found = []
    for path in sorted(folder.rglob("*")):
        reader = READERS.get(path.suffix)
        if reader is not None and path.is_file() and TEMPORARY not in str(path.relative_to(folder)):
            try:
                reader(path)
            except Exception as error:
                found.append(f"{path.name}: {error}")
    return found


def read_picture(path: Path) -> object:
    """Decode a picture."""
    with Image.open(path) as picture:
        return picture.load()


def read_weights(path: Path) -> object:
    """Read and check the weights of a checkpoint."""
    from mobilesam.model import checkpoint

    return checkpoint.load(path)


def read_state(path: Path) -> object:
    """Read the state of a training run."""
    import torch

    return torch.load(path, weights_only=True)


def read_store(path: Path) -> object:
    """Read every record of a store of embeddings."""
    from mobilesam.data.store import Store

    damaged = Store(path).verify()
    assert not damaged, damaged
    return damaged


READERS: dict[str, Callable[[Path], object]] = {
    ".png": read_picture,
    ".jpg": read_picture,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".safetensors": read_weights,
    ".pt": read_state,
    ".npz": read_store,
}


def litter(folder: Path) -> list[str]:
    """Temporary files that are left."""
    return [path.name for path in folder.rglob(f"{TEMPORARY}*")]


@dataclass
class Tally:
    """What the rounds of one verb showed."""

    killed: int = 0
    unfinished: int = 0
    """Rounds that left fewer results than the undisturbed run."""
    left: int = 0
    """Rounds that left temporary files."""
    faults: int = 0


def try_verb(verb: Verb, inputs: Path, times: int, rng: random.Random, say: Callable[[str], None]) -> Tally:
    """Kill one verb again and again."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        whole = fresh(Path(name) / "whole", inputs)
        seconds = min(finish(verb.words, whole), finish(verb.words, fresh(Path(name) / "second", inputs)))
        expected = checksums(whole / "out", verb.results)
        assert expected, f"{verb.words[0]} wrote nothing"
        for i in range(times):
            folder = fresh(Path(name) / f"{i}", inputs)
            process = start(verb.words, folder)
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            if process.poll() is None:
                tally.killed += 1
                os.killpg(process.pid, SIGNALS[i % len(SIGNALS)])
            process.communicate()
            faults = torn(folder / "out")
            tally.left += bool(litter(folder))
            tally.unfinished += checksums(folder / "out", verb.results) != expected
            is_there = (folder / "out").exists() and any((folder / "out").iterdir())
            finish((*verb.words, *(verb.resumed if is_there else ())), folder)
            if checksums(folder / "out", verb.results) != expected:
                faults.append("other results than those of an undisturbed run")
            if checksums(folder / "in") != checksums(inputs):
                faults.append("an input changed")
            faults += [f"{one} is still there" for one in litter(folder)]
            for fault in faults:
                say(f"{verb.words[0]}, round {i}: {fault}")
            tally.faults += bool(faults)
            shutil.rmtree(folder)
    return tally


def fresh(folder: Path, inputs: Path) -> Path:
    """A folder with the inputs, whose times are kept."""
    shutil.copytree(inputs, folder / "in")
    (folder / "out").mkdir()
    return folder


def main() -> None:
    """Kill the verbs, and print a table."""
    parser = make_parser(__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--verbs", default=",".join(VERBS))
    parser.add_argument("--seed", type=int, default=0)
    options = parse(parser, lambda _: ["--times", "1", "--photos", "2", "--verbs", "segment"])
    rng = random.Random(options.seed)
    rows, faults = [], Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name)
        draw(inputs, options.photos)
        if "embed" in options.verbs:
            draw_teacher(inputs / "teacher.safetensors")
        for verb in options.verbs.split(","):
            tally = try_verb(VERBS[verb], inputs, options.times, rng, lambda text: print(text, file=sys.stderr))
            faults[verb] = tally.faults
            rows.append((verb, f"{tally.killed}", f"{tally.unfinished}", f"{tally.left}", f"{tally.faults}"))
    print(machine(1, ("mobilesam", "numpy", "pillow", "onnxruntime")))
    print("\n".join(table(("verb", "killed", "left unfinished", "left temporary files", "faults"), rows)))
    if faults.total():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
