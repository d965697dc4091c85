"""Two exported models of one network against each other, in alternating rounds: encoding, a click, memory.

    mobilesam export embedded -o pair && mobilesam export embedded -o phone --format litert
    python -m benchmarks.runtimes pair phone examples/coffee.png

Each folder runs in the runtime that it was exported for. Times are CPU times of the process, all threads together,
so that another program's load changes them little; ratios are medians over the rounds, second folder over first.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import mobilesam
from benchmarks.common import ROOT, make_pair, make_parser, parse
from mobilesam.choices import BackendName
from mobilesam.evaluate.metrics import iou


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def open_both(folders: list[Path], threads: int) -> list[mobilesam.Predictor]:
    """The models; prints what each adds to the memory of the process."""
    models = []
    for folder in folders:
        before = peak_mb()
        backend: BackendName = "onnx" if (folder / "encoder.onnx").exists() else "auto"
        models.append(mobilesam.load(folder, backend=backend, threads=threads))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
        print(f"{folder}: {size / 1e6:.1f} MB on disk, {peak_mb() - before:.0f} MB of memory when opened")
    return models


def peak_mb() -> float:
    """Largest memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def smallest(folder: Path) -> tuple[str, ...]:
    """The smallest model against itself."""
    make_pair("tiny", folder / "pair")
    return str(folder / "pair"), str(folder / "pair"), str(ROOT / "examples" / "coffee.png"), "--rounds", "1"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("first", type=Path, help="folder of an export")
    parser.add_argument("second", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parse(parser, smallest)
    models = open_both([arguments.first, arguments.second], arguments.threads)
    images = [sam.embed(arguments.photo) for sam in models]
    h, w = images[0].original_hw
    points = [(w * x, h * y) for x in (0.25, 0.5, 0.75) for y in (0.25, 0.5, 0.75)]
    masks = [[image.predict(points=[p], zoom=False).best.array for p in points] for image in images]
    print(f"mask IoU of {len(points)} clicks: {np.mean([iou(a, b) for a, b in zip(*masks, strict=True)]):.4f}")
    encode: list[list[float]] = [[], []]
    click: list[list[float]] = [[], []]
    for _ in range(arguments.rounds):
        for i, (sam, image) in enumerate(zip(models, images, strict=True)):
            encode[i].append(cpu_seconds(lambda sam=sam: sam.embed(arguments.photo)))  # type: ignore[misc]
            click[i].append(cpu_seconds(lambda image=image: image.predict(points=[points[4]], zoom=False)))  # type: ignore[misc]
    for name, times in (("encode", encode), ("click", click)):
        first, second = (1000 * statistics.median(values) for values in times)
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        print(f"{name}: {first:.1f} ms, {second:.1f} ms, ratio {ratio:.2f}")
    print(f"memory at most: {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
