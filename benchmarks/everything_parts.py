"""Where a search for all masks spends its time: encoder, decoder, and the rest (scaling masks up, judging, encoding).

    python -m benchmarks.everything_parts [--model mobile_sam|embedded] [--points-per-side 8] [--repeat 3] [--threads 2]

All masks are kept, as in `python -m benchmarks.everything --keep all`, and against the same plain torch version: in
brackets how many times as fast each part is. Each way runs in a process of its own, in turn; medians. Of the rest, the
functions that take most are named, by Python's profiler in a second search. The floor is what the products of encoder
and decoder would take at the rate of one large product on this machine.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mobilesam
from benchmarks.common import (
    MODELS,
    ROOT,
    in_process,
    load_kind,
    machine,
    make_pair,
    make_parser,
    number_types,
    parse,
    runs_here,
)
from benchmarks.everything import KINDS, reference
from mobilesam import EverythingSettings
from mobilesam.image import open_photo

PARTS = ("encode", "decode", "rest", "all")


class Clock:
    """Adds up the seconds of calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            answer = call(*given, **named)
            self.seconds += time.perf_counter() - start
            return answer

        return timed


def searcher(kind: str, arguments: argparse.Namespace) -> tuple[Any, Callable[[], object]]:
    """What encodes and decodes, and a search with it."""
    rgb = open_photo(ROOT / "examples" / "coffee.png")
    if kind == "reference":
        import torch

        from mobilesam.model import checkpoint

        torch.set_num_threads(arguments.threads)
        sam = checkpoint.load(arguments.pair)
        return sam, lambda: reference(sam, rgb, arguments.points_per_side, 0.0, 0.0)
    predictor = load_kind(arguments.pair, kind, arguments.threads)
    settings = EverythingSettings(
        points_per_side=arguments.points_per_side, pred_iou_thresh=0.0, stability_score_thresh=0.0
    )

    def search() -> object:
        found = mobilesam.segment_everything(predictor, rgb, settings=settings)
        return [mask.rle() for mask in found]

    return predictor.backend, search


def run_one(arguments: argparse.Namespace) -> None:
    """Print the seconds of each part on one backend, and what took most of the rest, as JSON."""
    runner, search = searcher(arguments.one, arguments)
    search()
    clocks = {name: Clock() for name in ("encode", "decode")}
    for name, clock in clocks.items():
        setattr(runner, name, clock.around(getattr(runner, name)))
    start = time.perf_counter()
    search()
    total = time.perf_counter() - start
    parts = {name: clock.seconds for name, clock in clocks.items()}
    print(json.dumps({**parts, "all": total, "rest": total - sum(parts.values()), "top": top(search)}))


def top(search: Callable[[], object]) -> list[tuple[str, float]]:
    """Functions that take most of a search by themselves, and their share of it; encoder and decoder left out."""
    profiler = cProfile.Profile()
    profiler.runcall(search)
    stats: Any = pstats.Stats(profiler)
    found = [(name, own / stats.total_tt) for (_, _, name), (_, _, own, _, _) in stats.stats.items()]
    left_out = ("run", "infer", "conv", "linear", "matmul", "attention", "layer_norm", "gelu", "softmax")
    rest = [(name, share) for name, share in found if not any(word in name for word in left_out)]
    return sorted(rest, key=lambda pair: -pair[1])[:4]


def floor(pair: Path, num_prompts: int, product: int) -> str:
    """Operations of the encoder's and the decoder's products, and their time at the rate of one large product."""
    import torch

    from benchmarks.operators import ALL, count, make_feed, rate
    from mobilesam.export import low_rank
    from mobilesam.model import checkpoint

    sam = checkpoint.load(pair).eval().requires_grad_(False)
    size = sam.config.image_size
    photo = torch.rand(1, 3, size * 2 // 3, size) * 255
    embedding, coords, labels, *_ = (torch.from_numpy(array) for array in make_feed(sam, num_prompts).values())
    encoder = count(lambda: sam.encode(photo), 1)
    decoder = num_prompts * count(
        lambda: low_rank.decode(sam, embedding, coords, labels, torch.tensor(ALL)), num_prompts
    )
    lines = [f"Products: encoder {encoder:.0f} GFLOP, decoder {decoder:.0f} GFLOP for {num_prompts} prompts."]
    for name, dtype in number_types().items():
        speed = rate(dtype, product)
        lines.append(f"Floor in {name}, at {speed:.0f} GFLOP/s: {encoder / speed:.2f} + {decoder / speed:.2f} s.")
    return "\n".join(lines)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="mobile_sam")
    parser.add_argument("--points-per-side", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--product", type=int, default=2048, help="side of the matrices whose product gives the floor")
    for hidden in ("--one", "--pair"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parse(
        parser, lambda _: ("--model", "tiny", "--points-per-side", "2", "--repeat", "1", "--product", "256")
    )
    if arguments.one:
        run_one(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_pair(arguments.model, Path(folder))
        kinds = {label: kind for label, kind in KINDS.items() if runs_here(kind)}
        words = ["--pair", folder, "--points-per-side", str(arguments.points_per_side)]
        words += ["--threads", str(arguments.threads)]
        turns = [
            {
                label: in_process("benchmarks.everything_parts", ["--one", kind, *words], arguments.threads)
                for label, kind in kinds.items()
            }
            for _ in range(arguments.repeat)
        ]
        least = floor(Path(folder), arguments.points_per_side**2, arguments.product)
    print(machine(arguments.threads, ("torch", "onnxruntime", "openvino")))
    print(f"{arguments.model}, {arguments.points_per_side} points a side, all masks kept\n")
    print(f"| s (times as fast) | {' | '.join(PARTS)} | of the rest, share of all |\n|---|---|---|---|---|---|")
    for label in kinds:
        cells = []
        for part in PARTS:
            ratio = statistics.median(turn["torch, plainly"][part] / max(turn[label][part], 1e-9) for turn in turns)
            cells.append(f"{statistics.median(turn[label][part] for turn in turns):.2f} ({ratio:.1f})")
        names = ", ".join(f"{name} {100 * share:.0f} %" for name, share in turns[0][label]["top"])
        print(f"| {label} | {' | '.join(cells)} | {names} |")
    print(f"\n{least}")


if __name__ == "__main__":
    main()
