"""How long the image encoders of several network sizes take, compared with the first of them.

    python -m benchmarks.encoders [--sizes embedded,embedded_lite2] [--sides 256,512] [--repeat 9] [--threads 1]

All take turns in one process, with random weights, as time does not depend on them; medians. The ratio is that of CPU
times, turn by turn, which other work on the machine affects less.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import mobilesam
from benchmarks.common import machine, make_parser, parse
from mobilesam.choices import BackendName
from mobilesam.export.onnx import export_pair
from mobilesam.model.config import CONFIGS
from mobilesam.model.sam import Sam
from mobilesam.predict.predictor import Predictor

RUNTIMES: tuple[BackendName, ...] = ("onnx", "openvino")


def encode(sam: Predictor) -> tuple[float, float]:
    """Encode a random image of the model's side; (wall, CPU) milliseconds."""
    side = sam.info.image_size
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, side, side)).astype(np.float32)
    wall, cpu = time.perf_counter(), time.process_time()
    sam.backend.encode(image)
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", default="embedded,embedded_lite2", help="names of network configurations")
    parser.add_argument("--sides", default="256,512")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parse(parser, lambda _: ("--sizes", "tiny_lite,tiny_lite", "--sides", "256", "--repeat", "1"))
    sizes = arguments.sizes.split(",")
    print(machine(arguments.threads, ("torch", "onnxruntime", "openvino")) + "\n")
    print("| side | runtime | network | encoder parameters, M | ms | CPU ms | CPU time against the first |")
    print("|---|---|---|---|---|---|---|")
    networks = {size: Sam(CONFIGS[size]).eval() for size in sizes}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for size, network in networks.items():
            export_pair(network, Path(folder) / size, licence="none")
        for side in (int(text) for text in arguments.sides.split(",")):
            for runtime in RUNTIMES:
                pairs = [
                    mobilesam.load(
                        str(Path(folder) / size), backend=runtime, threads=arguments.threads, image_size=side
                    )
                    for size in sizes
                ]
                turns = [[encode(pair) for pair in pairs] for _ in range(arguments.repeat + 2)][2:]  # two warm up
                for i, size in enumerate(sizes):
                    wall, cpu = (statistics.median(turn[i][k] for turn in turns) for k in (0, 1))
                    ratio = statistics.median(turn[i][1] / turn[0][1] for turn in turns)
                    count = sum(p.numel() for p in networks[size].image_encoder.parameters()) / 1e6
                    print(f"| {side} | {runtime} | {size} | {count:.2f} | {wall:.1f} | {cpu:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
