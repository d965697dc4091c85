"""Do single clicks of several requests pay when they are put into one call of the decoder?

    python -m benchmarks.joined_clicks [--repeat 50] [--backend auto|onnx|openvino] [--threads 2]

Clicks are decoded one after the other, and joined, on one photo and on as many photos as clicks; all take turns in one
process. Times are medians per click; the last column is how long each click of a batch waits for its answer.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

import mobilesam
from benchmarks.common import ROOT, machine, make_parser, parse

SIZES = (1, 2, 4, 8, 16)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--backend", choices=("auto", "onnx", "openvino"), default="auto")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parse(parser, lambda _: ("--repeat", "1"))
    print(machine(arguments.threads, ("onnxruntime", "openvino")) + "\n")
    model = mobilesam.load("embedded", backend=arguments.backend, threads=arguments.threads)
    image = model.embed(ROOT / "examples" / "coffee.png")
    times: dict[tuple[str, int], list[float]] = {}
    for turn in range(arguments.repeat + 1):
        for photos in ("one photo", "many photos"):
            for size in SIZES:
                seconds = decode(model, image.array, size, size if photos == "many photos" else 1)
                if turn:
                    times.setdefault((photos, size), []).append(seconds)
    print("| clicks | of | ms per click | ms until the answer |\n|---|---|---|---|")
    for (photos, size), all_times in times.items():
        whole = 1000 * statistics.median(all_times)
        print(f"| {size} | {photos} | {whole / size:.1f} | {whole:.1f} |")


def decode(model: mobilesam.Predictor, embedding: np.ndarray, size: int, photos: int) -> float:
    """Seconds of one call with a number of clicks, on one photo or on one each."""
    side, low_res = model.info.image_size, model.info.low_res
    points = np.random.default_rng(size).uniform(0, side, (size, 2, 2)).astype(np.float32)
    labels = np.tile(np.array([1, -1], np.float32), (size, 1))  # a click, and the point that stands for no box
    array = np.repeat(embedding, photos, axis=0)
    start = time.perf_counter()
    model.backend.decode(array, points, labels, np.zeros((1, 1, low_res, low_res), np.float32), np.zeros(1, np.float32))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
