"""FastSAM beside MobileSAM's size and the embedded model: parameters, first click and all masks, on the CPU.

    python -m venv fastsam && fastsam/bin/pip install ultralytics
    python -m benchmarks.fastsam --peer fastsam/bin/python [--repeat 3] [--runs 3] [--threads 2] [--skip-all]

Paired: each repeat runs every way in turn, each in a process of its own, and takes the median of `--runs` runs. A first
click is the time from a photo's file to the mask of one point at the photo's size, both at 1024 px. FastSAM finds all
objects for it, and so takes as long for a click as for everything. FastSAM and MobileSAM's size have random weights:
FastSAM keeps `--objects` objects, and thresholds let a tenth of our masks pass. MB is of the file that ultralytics
saves, in float16, and of our encoder and decoder in float32. ultralytics is under the AGPL: it stays in an environment
of its own, and this package never imports it. Without `--peer`, only our side is run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, machine, make_pair, make_parser, parse
from mobilesam.contract import DECODER_FILE, ENCODER_FILE

PEER = Path(__file__).with_name("fastsam_peer.py")
POINT = (300, 180)
OURS = {
    "MobileSAM's size, torch": ("mobile_sam", "torch"),
    "MobileSAM's size, onnxruntime": ("mobile_sam", "onnx"),
    "MobileSAM's size, OpenVINO": ("mobile_sam", "openvino"),
    "embedded, 512 px, onnxruntime": ("embedded", "onnx"),
    "embedded, 512 px, OpenVINO": ("embedded", "openvino"),
}
THEIRS = {"FastSAM-s": "s", "FastSAM-x": "x"}
BASE = "FastSAM-x"


def measure(work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run after a first one."""
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return taken[1:]


def run_one(arguments: argparse.Namespace) -> None:
    """One of our ways, in this process; its result as JSON on the last line."""
    import mobilesam
    from mobilesam import EverythingSettings

    if arguments.one == "torch":
        import torch

        torch.set_num_threads(arguments.threads)
    threads = None if arguments.one == "torch" else arguments.threads
    sam = mobilesam.load(arguments.pair, backend=arguments.one, threads=threads)
    settings = EverythingSettings(
        points_per_side=arguments.points_per_side,
        pred_iou_thresh=arguments.iou,
        stability_score_thresh=0.0,  # masks of random weights are not stable, and none would be left
    )
    found: list[int] = []

    def click() -> None:
        sam.embed(arguments.photo).predict(points=[POINT], zoom=False).best.array.sum()

    def everything() -> None:
        found[:] = [len(mobilesam.segment_everything(sam, arguments.photo, settings=settings))]

    result = {"click": measure(click, arguments.runs)}
    result["all"] = [] if arguments.skip_all else measure(everything, arguments.runs)
    print(json.dumps({**result, "masks": found[0] if found else 0}))


def ours(label: str, arguments: argparse.Namespace, pairs: dict[str, Path], limits: dict[str, float]) -> Any:
    """`run_one` in a process of its own."""
    model, backend = OURS[label]
    words = [sys.executable, "-m", "benchmarks.fastsam", "--one", backend, "--pair", str(pairs[model])]
    words += ["--iou", str(limits[model]), "--photo", str(Path(arguments.photo).resolve())]
    words += ["--runs", str(arguments.runs), "--threads", str(arguments.threads)]
    words += ["--points-per-side", str(arguments.points_per_side), *(["--skip-all"] if arguments.skip_all else [])]
    return call(words, arguments.threads)


def theirs(label: str, arguments: argparse.Namespace) -> Any:
    """FastSAM in its own environment."""
    photo = str(Path(arguments.photo).resolve())
    numbers = (1024, *POINT, arguments.threads, arguments.runs, arguments.objects)
    return call([arguments.peer, str(PEER), THEIRS[label], photo, *map(str, numbers)], arguments.threads)


def call(words: list[str], threads: int) -> Any:
    """The JSON on the last line that a program prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if words[0] != sys.executable:
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def limit(pair: Path, photo: str) -> float:
    """The predicted IoU that a tenth of the masks of a photo exceed."""
    from benchmarks.everything import choose_thresholds

    return choose_thresholds(pair, argparse.Namespace(keep="tenth", photo=photo))[0]


def count_parameters(pair: Path) -> int:
    """Number of learned values of a model."""
    from mobilesam.model import checkpoint

    return sum(p.numel() for p in checkpoint.load(pair).parameters())


def row(label: str, runs: list[Any], base: list[Any]) -> str:
    """A line of the table; ratios are medians over the repeats."""

    def cell(what: str) -> str:
        if not runs[0][what]:
            return "- | -"
        taken = [statistics.median(run[what]) for run in runs]
        against = [statistics.median(run[what]) / mine for run, mine in zip(base, taken, strict=False)]
        ratio = f"{statistics.median(against):.1f}x" if against else "-"
        return f"{statistics.median(taken):.2f} | {ratio}"

    size = runs[0]["parameters"] / 1e6
    smaller = f"{base[0]['parameters'] / 1e6 / size:.1f}x" if base else "-"
    mb = runs[0]["mb"]
    return f"| {label} | {size:.1f} M | {smaller} | {mb:.0f} | {cell('click')} | {cell('all')} | {runs[0]['masks']} |"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--peer", help="the Python of an environment with ultralytics")
    parser.add_argument("--photo", default=str(ROOT / "examples" / "coffee.png"))
    parser.add_argument("--objects", type=int, default=50, help="that FastSAM keeps")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-all", action="store_true", help="measure clicks only, on our side")
    parser.add_argument("--model", action="append", choices=("mobile_sam", "embedded"), help="only these of ours")
    for hidden in ("--one", "--pair"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--iou", type=float, help=argparse.SUPPRESS)
    small = ("--model", "embedded", "--points-per-side", "2", "--repeat", "1", "--runs", "1")
    arguments = parse(parser, lambda _: small)
    if arguments.one:
        run_one(arguments)
        return
    models = arguments.model or ["mobile_sam", "embedded"]
    with tempfile.TemporaryDirectory() as folder:
        pairs = {model: Path(folder) / model for model in models}
        for model, pair in pairs.items():
            make_pair(model, pair)
        limits = {model: 0.0 if arguments.skip_all else limit(pair, arguments.photo) for model, pair in pairs.items()}
        labels = [
            *(THEIRS if arguments.peer else ()),
            *(label for label, (model, _) in OURS.items() if model in models),
        ]
        results: dict[str, list[Any]] = {label: [] for label in labels}
        for _ in range(arguments.repeat):
            for label in labels:
                found = theirs(label, arguments) if label in THEIRS else ours(label, arguments, pairs, limits)
                results[label].append(found)
        for label, (model, _) in OURS.items():
            for run in results.get(label, []):
                run["parameters"] = count_parameters(pairs[model])
                run["mb"] = sum((pairs[model] / name).stat().st_size for name in (ENCODER_FILE, DECODER_FILE)) / 1e6
    print(machine(arguments.threads, ("torch", "onnxruntime", "openvino")))
    print(f"FastSAM: {results[BASE][0]['versions']}" if arguments.peer else "FastSAM was not run: no --peer")
    print(f"\n| | parameters | smaller than {BASE} | MB | first click, s | faster | all masks, s | faster | masks |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label, runs in results.items():
        print(row(label, runs, results.get(BASE, [])))


if __name__ == "__main__":
    main()
