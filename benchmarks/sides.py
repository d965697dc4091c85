"""The embedded model at several sides of the picture: encoder and decoder, both runtimes, and a graph of a fixed side.

    python -m benchmarks.sides [--model FOLDER] [--sides 256,384,512] [--repeat 9] [--threads 1]

All take turns in one process; medians of milliseconds. "fixed" is the decoder exported for that side alone, whose ratio
to the dynamic one, turn by turn, is what dynamic sides cost. Also the agreement of the pair with torch: IoU of the
masks of 16 clicks and 16 boxes on the two example photos.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

import mobilesam
from benchmarks.common import ROOT, machine, make_parser, parse
from mobilesam.choices import BackendName
from mobilesam.export.onnx import export_pair
from mobilesam.image import open_photo, to_input
from mobilesam.model import checkpoint
from mobilesam.model.config import SamConfig
from mobilesam.weights import find_checkpoint

EXAMPLES = ROOT / "examples"
RUNTIMES: tuple[BackendName, ...] = ("onnx", "openvino")


def export_fixed(model: str, side: int, folder: Path) -> None:
    """The same weights, exported as if the encoder had no choice of sides."""
    sam = checkpoint.load(find_checkpoint(model))
    sam.config = sam.config.at(side)
    with patch.object(SamConfig, "sides", range(0)):
        export_pair(sam, folder, licence="none", precision="float16")


def timers(sam: mobilesam.Predictor) -> dict[str, Callable[[], object]]:
    """One call of each half on the example photo."""
    image = to_input(open_photo(EXAMPLES / "coffee.png"), sam.info.image_size)
    side = sam.info.low_res
    embedding = sam.backend.encode(image)
    coords, labels = np.array([[[90, 60], [0, 0]]], np.float32), np.array([[1, -1]], np.float32)
    none = np.zeros((1, 1, side, side), np.float32), np.zeros(1, np.float32)
    return {
        "encoder": lambda: sam.backend.encode(image),
        "decoder": lambda: sam.backend.decode(embedding, coords, labels, *none),
    }


def clock(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def agreement(model: str, side: int, prompts: int) -> float:
    """The lowest IoU between masks of the pair and of torch."""
    rng = np.random.default_rng(0)
    lowest = 1.0
    for name in ("coffee.png", "chelsea.png"):
        rgb = open_photo(EXAMPLES / name)
        points = rng.uniform(0, 1, (prompts, 1, 2)) * (rgb.shape[1], rgb.shape[0])
        boxes = [(*np.maximum(0, p[0] - 60), *(p[0] + 60)) for p in points]
        loaded = [mobilesam.load(model, backend=b, image_size=side).embed(rgb) for b in ("onnx", "torch")]
        ours, theirs = ([*i.predict_batch(points=points), *i.predict_batch(boxes=boxes)] for i in loaded)
        for a, b in zip(ours, theirs, strict=True):
            for x, y in zip(a.masks, b.masks, strict=True):
                if min(x.sum(), y.sum()) >= 50:
                    lowest = min(lowest, float((x & y).sum() / (x | y).sum()))
    return lowest


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--sides", default="256,384,512")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=16, help="clicks and boxes of each photo, for the agreement")
    arguments = parse(parser, lambda _: ("--sides", "256", "--repeat", "1", "--prompts", "2"))
    torch.set_num_threads(arguments.threads)
    print(machine(arguments.threads, ("torch", "onnxruntime", "openvino")) + "\n")
    print("| side | runtime | encoder ms | decoder ms | decoder, dynamic to fixed | lowest IoU with torch |")
    print("|---|---|---|---|---|---|")
    for side in (int(text) for text in arguments.sides.split(",")):
        worst = agreement(arguments.model, side, arguments.prompts)
        with tempfile.TemporaryDirectory() as folder:
            export_fixed(arguments.model, side, Path(folder))
            for runtime in RUNTIMES:
                free = timers(
                    mobilesam.load(arguments.model, backend=runtime, threads=arguments.threads, image_size=side)
                )
                fixed = timers(mobilesam.load(folder, backend=runtime, threads=arguments.threads))
                turns = [
                    (clock(free["encoder"]), clock(free["decoder"]), clock(fixed["decoder"]))
                    for _ in range(arguments.repeat + 2)
                ][2:]  # the first two warm up
                encoder, decoder = (statistics.median(column) for column in list(zip(*turns, strict=True))[:2])
                ratio = statistics.median(turn[1] / turn[2] for turn in turns)
                print(f"| {side} | {runtime} | {encoder:.1f} | {decoder:.1f} | {ratio:.2f} | {worst:.4f} |", flush=True)


if __name__ == "__main__":
    main()
