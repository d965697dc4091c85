"""Where the decoder's time goes: products needed, products done, and what is not a product.

    python -m benchmarks.operators [--model embedded|mobile_sam] [--prompts 32] [--threads 2] [--top 6]

For the plain decoder in torch, the folded one and the one for many prompts in onnxruntime: floating-point operations of
the matrix products and convolutions a prompt (counted by torch), milliseconds a prompt, and the operators that take
them. The floor is the operations over the rate of one large product on this machine, in float32 and, where the
processor has it, in bfloat16.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import MODELS, machine, make_pair, make_parser, number_types, parse
from mobilesam import contract
from mobilesam.export import folded, low_rank
from mobilesam.model import checkpoint
from mobilesam.model.sam import Sam

NONE, ALL = np.inf, -np.inf  # scores that no prompt and every prompt exceeds
Feed = dict[str, np.ndarray]


def make_feed(sam: Sam, num_prompts: int) -> Feed:
    """One photo and single points, in the contract's order."""
    rng = np.random.default_rng(0)
    grid, size = sam.config.grid, sam.config.image_size
    feed = {
        "embedding": rng.standard_normal((1, sam.config.embed_dim, grid, grid)),
        "point_coords": rng.uniform(0, size, (num_prompts, 2, 2)),
        "point_labels": np.tile([1.0, -1.0], (num_prompts, 1)),
        "mask_input": np.zeros((1, 1, 4 * grid, 4 * grid)),
        "has_mask_input": np.zeros(1),
    }
    return {name: array.astype(np.float32) for name, array in feed.items()}


def count(run: Callable[[], Any], num_prompts: int) -> float:
    """GFLOP a prompt: two for each multiplication with its addition."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run()
    return counter.get_total_flops() / num_prompts / 1e9


def rate(dtype: torch.dtype, side: int) -> float:
    """GFLOP/s of a large matrix product."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    seconds = [clock(lambda: a @ b) for _ in range(7)][2:]
    return 2 * side**3 / statistics.median(seconds) / 1e9


def clock(run: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def torch_operators(run: Callable[[], Any]) -> Counter[str]:
    """Seconds of each operator in torch."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    return Counter({e.key.removeprefix("aten::"): e.self_cpu_time_total / 1e6 for e in profiler.key_averages()})


def onnx_operators(path: Path, feed: Feed, min_score: float, threads: int) -> tuple[float, Counter[str]]:
    """Seconds of one run of a graph (median), and of each of its operators."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        plain = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        profiled = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = {node.name for node in plain.get_inputs()} | {contract.DECODER_MIN_SCORE}
        given = {**feed, contract.DECODER_MIN_SCORE: np.array(min_score, np.float32)}
        given = {name: array for name, array in given.items() if name in names}
        seconds = [clock(lambda: plain.run(None, given)) for _ in range(7)][2:]
        for _ in range(3):
            profiled.run(None, given)
        events = json.loads(Path(profiled.end_profiling()).read_text())
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("kernel_time")]
    found: Counter[str] = Counter()
    for event in kernels[-len(kernels) // 3 :]:  # the last run, when memory is there
        found[event["args"]["op_name"]] += event["dur"] / 1e6
    return statistics.median(seconds), found


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="mobile_sam")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--top", type=int, default=6)
    parser.add_argument("--product", type=int, default=2048, help="side of the matrices of the large product")
    arguments = parse(parser, lambda _: ("--model", "tiny", "--prompts", "2", "--product", "256"))
    torch.set_num_threads(arguments.threads)
    n = arguments.prompts
    rates = {name: rate(dtype, arguments.product) for name, dtype in number_types().items()}
    print(machine(arguments.threads, ("torch", "onnxruntime")))
    products = ", ".join(f"{gflops:.0f} GFLOP/s {name}" for name, gflops in rates.items())
    print(f"{arguments.model}, {n} prompts; products: {products}\n")
    floors = " | ".join(f"floor {name}" for name in rates)
    print(f"| decoder | passes | GFLOP a prompt | {floors} | measured | operators, ms a prompt |")
    print("|---|---|---|" + "---|" * (len(rates) + 2))
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder)
        make_pair(arguments.model, pair)
        sam = checkpoint.load(pair).eval().requires_grad_(False)
        feed = make_feed(sam, n)
        tensors = [torch.from_numpy(array) for array in feed.values()]
        image, coords, labels, masks, flags = tensors
        each = (masks.expand(n, -1, -1, -1), flags.expand(n))  # as the reference does

        def plain() -> None:
            with torch.inference_mode():
                sam.decode(image, coords, labels, *each)

        plain()
        flops = count(plain, n)
        seconds = statistics.median(clock(plain) for _ in range(3))
        tell("plain, torch", "all", flops, rates, seconds / n, torch_operators(plain), n, arguments.top)
        graphs: dict[str, tuple[str, Callable[[Any], Any]]] = {
            "folded, onnxruntime": (
                contract.DECODER_FILE,
                lambda m: folded.decode(sam, image, coords, labels, masks, flags, m),
            ),
            "for many, onnxruntime": (contract.MANY_FILE, lambda m: low_rank.decode(sam, image, coords, labels, m)),
        }
        for label, (file, decode) in graphs.items():
            for passes, min_score in (("all", ALL), ("none", NONE)):
                flops = count(lambda decode=decode, m=min_score: decode(torch.tensor(m)), n)  # type: ignore[misc]
                seconds, operators = onnx_operators(pair / file, feed, min_score, arguments.threads)
                tell(label, passes, flops, rates, seconds / n, operators, n, arguments.top)


def tell(
    label: str,
    passes: str,
    flops: float,
    rates: dict[str, float],
    seconds: float,
    operators: Counter[str],
    num_prompts: int,
    top: int,
) -> None:
    """One row."""
    floors = [1000 * flops / gflops for gflops in rates.values()]
    names = ", ".join(f"{name} {1000 * spent / num_prompts:.1f}" for name, spent in operators.most_common(top))
    times = " | ".join(f"{ms:.1f} ms" for ms in (*floors, 1000 * seconds))
    print(f"| {label} | {passes} | {flops:.2f} | {times} | {names} |")


if __name__ == "__main__":
    main()
