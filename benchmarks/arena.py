"""The encoder in onnxruntime, with and without memory that it keeps from one photo to the next (its arena).

    python -m benchmarks.arena [--photos 20] [--repeat 3] [--threads 2]

Both ways take turns, each in a process of its own that encodes photos of five shapes with the encoder's graph alone.
Times are medians per photo; the peak of memory is that of the whole process. Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import in_process, machine, make_pair, make_parser, parse
from mobilesam import contract
from mobilesam.image import to_input
from mobilesam.predict.onnx import open_session

SHAPES = ((1.0, 0.75), (0.75, 1.0), (1.0, 1.0), (1.0, 0.5), (0.6, 1.0))  # height and width, as shares of the side
MODELS = {
    "embedded, 512 px": ("embedded", 512),
    "embedded, 1024 px": ("embedded", 1024),
    "MobileSAM's size, 1024 px": ("mobile_sam", 1024),
}


def encode(folder: Path, side: int, arguments: argparse.Namespace) -> None:
    """Print the milliseconds of each photo and the peak memory in MB, as the child does."""
    has_arena = arguments.child == "with"
    session = open_session(
        folder / contract.ENCODER_FILE, "cpu", arguments.threads, is_busy=False, has_arena=has_arena, grid=None
    )
    rng, times = np.random.default_rng(0), []
    for i in range(arguments.photos + len(SHAPES)):
        high, wide = SHAPES[i % len(SHAPES)]
        photo = rng.integers(0, 256, (int(high * side), int(wide * side), 3), dtype=np.uint8)
        image = to_input(photo, side)  # (1, 3, h, w)
        start = time.perf_counter()
        session.run(None, {contract.ENCODER_INPUT: image})
        times.append(1e3 * (time.perf_counter() - start))
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3
    print(json.dumps({"times": times[len(SHAPES) :], "peak": peak}))  # the first photo of each shape warms up


def main() -> None:
    """Print a row for each model."""
    parser = make_parser(__doc__)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--child", choices=("with", "without"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    arguments = parse(
        parser,
        lambda _: ("--photos", "1", "--repeat", "1", "--threads", "1", "--models", "embedded, 512 px"),
    )
    if arguments.child:
        encode(arguments.folder, arguments.side, arguments)
        return
    print(machine(arguments.threads, ("onnxruntime",)))
    print("\n| encoder | ms without | ms with | paired ratio | peak MB without | peak MB with |")
    print("|---|---|---|---|---|---|")
    for name in arguments.models:
        model, side = MODELS[name]
        with tempfile.TemporaryDirectory() as folder:
            make_pair(model, Path(folder))
            words = ["--folder", folder, "--side", str(side)]
            for option in ("photos", "threads"):
                words += [f"--{option}", str(getattr(arguments, option))]
            turns = [
                [
                    in_process("benchmarks.arena", ["--child", way, *words], arguments.threads)
                    for way in ("without", "with")
                ]
                for _ in range(arguments.repeat)
            ]
        times = [[statistics.median(way["times"]) for way in turn] for turn in turns]
        without, with_arena = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        peaks = [statistics.median(turn[i]["peak"] for turn in turns) for i in range(2)]
        print(
            f"| {name} | {without:.1f} | {with_arena:.1f} | {ratio:.2f} | {peaks[0]:.0f} | {peaks[1]:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
