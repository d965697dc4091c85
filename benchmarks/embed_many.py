"""Photos encoded in batches against one by one, on every CPU runtime.

    python -m benchmarks.embed_many [--model embedded] [--batch 2 4 8] [--repeat 5] [--threads 2]

Paired: each repeat encodes the same photos one by one and in every batch size in turn; opened photos of two shapes.
A ratio below 1 means that the batch is faster.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import mobilesam
from benchmarks.common import MODELS, ROOT, machine, make_pair, make_parser, parse
from mobilesam.choices import BackendName
from mobilesam.image import Rgb, open_photo

RUNTIMES: tuple[BackendName, ...] = ("onnx", "openvino", "torch")


def seconds(sam: mobilesam.Predictor, photos: list[Rgb], batch_size: int | None) -> float:
    """Time to encode all photos; None: one by one."""
    start = time.perf_counter()
    if batch_size is None:
        for photo in photos:
            sam.embed(photo)
    else:
        list(sam.embed_many(photos, batch_size=batch_size))
    return time.perf_counter() - start


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--batch", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parse(parser, lambda _: ("--model", "tiny", "--batch", "2", "--repeat", "1", "--threads", "1"))
    photos = [open_photo(ROOT / "examples" / f"{name}.png") for name in ("coffee", "chelsea")] * 4
    with tempfile.TemporaryDirectory() as folder:
        make_pair(arguments.model, Path(folder))
        import torch

        torch.set_num_threads(arguments.threads)
        print(machine(arguments.threads, ("torch", "onnxruntime", "openvino")))
        print(f"\n| {arguments.model} | ms a photo, one by one | {' | '.join(f'at {n}' for n in arguments.batch)} |")
        print("|---|---|" + "---|" * len(arguments.batch))
        for runtime in RUNTIMES:
            threads = None if runtime == "torch" else arguments.threads
            sam = mobilesam.load(Path(folder), backend=runtime, threads=threads)
            list(sam.embed_many(photos, batch_size=max(arguments.batch)))
            alone, ratios = list[float](), {n: list[float]() for n in arguments.batch}
            for _ in range(arguments.repeat):
                alone.append(seconds(sam, photos, None))
                for n in arguments.batch:
                    ratios[n].append(seconds(sam, photos, n) / alone[-1])
            cells = " | ".join(f"{statistics.median(ratios[n]):.2f}x" for n in arguments.batch)
            print(f"| {runtime} | {1e3 * statistics.median(alone) / len(photos):.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
