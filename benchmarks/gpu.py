"""A photo and a click on a GPU: the network as it is, its CUDA graphs, and bfloat16; then photos in batches.

    python -m benchmarks.gpu [--model mobile_sam|embedded] [--device cuda] [--batch 32] [--repeat 50] [--compile]

Aims, at MobileSAM's size and 1024 px on an H100: at most 2 ms for a photo with one click at batch 1, and at least 1,500
photos/s encoded at batch 32. Both are measured on the device, without opening photos and without copies to and from the
CPU; the last column is a whole `embed` and `predict` with them. `IoU` is that of the masks of 16 clicks with those of
float32 without graphs.
`--compile` adds the network after torch.compile, which fuses layers, with graphs; compiling takes minutes, and on a CPU
a C++ compiler. Without a GPU, everything runs once on the CPU, where graphs are off, and measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import MODELS, ROOT, machine, make_pair, make_parser, parse
from mobilesam import Predictor
from mobilesam.choices import Precision
from mobilesam.model import checkpoint
from mobilesam.model.backend import TorchBackend
from mobilesam.model.cuda_graph import GraphRunner
from mobilesam.model.sam import Sam

PHOTO = ROOT / "examples" / "coffee.png"


@dataclass(frozen=True)
class Way:
    """One way of running the network."""

    name: str
    backend: TorchBackend


def ways(sam: Sam, device: str, with_compiled: bool) -> list[Way]:
    """The network without and with graphs, in each precision, and compiled."""
    made = []
    for precision in get_args(Precision):
        plain, graphs = (TorchBackend(sam, device=device, precision=precision) for _ in range(2))
        change(plain, lambda function: GraphRunner(function, torch.device("cpu")))  # a runner for a CPU never records
        made += [Way(precision, plain), Way(f"{precision}, graphs", graphs)]
        if with_compiled:
            compiled = TorchBackend(sam, device=device, precision=precision)
            # Each shape is compiled by itself: the second one would otherwise get kernels for shapes of any size.
            change(compiled, lambda f: GraphRunner(torch.compile(f, dynamic=False), torch.device(device)))
            made.append(Way(f"{precision}, compiled, graphs", compiled))
    return made


def change(backend: TorchBackend, runner: Callable[[Any], GraphRunner]) -> None:
    """Let a backend run its encoder and its decoder in another way."""
    for name in ("_run_encoder", "_run_decoder"):
        setattr(backend, name, runner(getattr(backend, name)._function))


def milliseconds(work: Callable[[], object], device: str, repeat: int) -> float:
    """Median of some runs after three, each until the device has finished."""
    taken = []
    for i in range(repeat + 3):
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        if i >= 3:
            taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def prompt(backend: TorchBackend, device: str) -> list[torch.Tensor]:
    """The decoder's inputs for one point, except the embedding."""
    low = backend.info.low_res
    arrays = ([[[100.0, 100.0], [0.0, 0.0]]], [[1.0, -1.0]], np.zeros((1, 1, low, low)), [0.0])
    return [torch.tensor(np.asarray(array), dtype=torch.float32, device=device) for array in arrays]


def masks(backend: TorchBackend) -> list[NDArray[np.bool_]]:
    """Masks of a grid of clicks on the photo."""
    image = Predictor(backend).embed(PHOTO)
    h, w = image.original_hw
    points = [((i + 0.5) * w / 4, (j + 0.5) * h / 4) for i in range(4) for j in range(4)]
    return [
        found.masks[0] for found in image.predict_batch(points=np.array(points)[:, None], multimask=False, zoom=False)
    ]


def agreement(found: list[NDArray[np.bool_]], expected: list[NDArray[np.bool_]]) -> float:
    """Mean IoU."""
    return statistics.fmean((a & b).sum() / max(1, (a | b).sum()) for a, b in zip(found, expected, strict=True))


def row(way: Way, arguments: argparse.Namespace, expected: list[NDArray[np.bool_]]) -> str:
    """A line of the table."""
    backend, device, repeat = way.backend, arguments.device, arguments.repeat
    side = backend.info.image_size
    photo = torch.rand(1, 3, side, side, device=device) * 255
    photos = torch.rand(arguments.batch, 3, side, side, device=device) * 255
    rest = prompt(backend, device)
    embedding = backend.encode_tensor(photo)
    encoded = milliseconds(lambda: backend.encode_tensor(photo), device, repeat)
    clicked = milliseconds(lambda: backend.decode_tensors(embedding, *rest), device, repeat)
    both = milliseconds(lambda: backend.decode_tensors(backend.encode_tensor(photo), *rest), device, repeat)
    batch = milliseconds(lambda: backend.encode_tensor(photos), device, max(1, repeat // 5))
    sam = Predictor(backend)
    rgb = sam.embed(PHOTO).photo
    assert rgb is not None
    whole = milliseconds(lambda: sam.embed(rgb).predict(points=[(300, 180)], zoom=False).best.array, device, repeat)
    return (
        f"| {way.name} | {encoded:.2f} | {clicked:.2f} | {both:.2f} | {1e3 * arguments.batch / batch:.0f} "
        f"| {agreement(masks(backend), expected):.4f} | {whole:.1f} |"
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="mobile_sam")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    small = ("--model", "tiny", "--device", "cpu", "--batch", "2", "--repeat", "1")
    arguments = parse(parser, lambda _: small)
    if arguments.device != "cpu" and not torch.cuda.is_available():
        print(
            f"torch {torch.__version__} finds no GPU here: one dry run on the CPU, whose numbers say nothing of a GPU"
        )
        arguments.device, arguments.batch, arguments.repeat = "cpu", 2, 1
    if arguments.device != "cpu":
        print(torch.cuda.get_device_name(arguments.device))
    with tempfile.TemporaryDirectory() as folder:
        make_pair(arguments.model, Path(folder))
        sam = checkpoint.load(Path(folder))
    print(machine(torch.get_num_threads(), ("torch",)))
    batched = f"photos/s at {arguments.batch}"
    print(f"\n| {arguments.model} | encoder, ms | click, ms | both, ms | {batched} | IoU | whole, ms |")
    print("|---|---|---|---|---|---|---|")
    tried = ways(sam, arguments.device, arguments.compile)
    expected = masks(tried[0].backend)
    for way in tried:
        print(row(way, arguments, expected), flush=True)


if __name__ == "__main__":
    main()
