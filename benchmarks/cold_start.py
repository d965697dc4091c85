"""A cold `mobilesam segment`: whole processes in turn, onnxruntime against torch, or exported models among each other.

    python -m benchmarks.cold_start [--runs 7] [--photo examples/coffee.png] [--models FOLDER FOLDER ...]

Each run is a new process that opens one photo, loads the model, answers one click and writes the mask. Without
`--models` it is the embedded model, in onnxruntime and in torch; with them, each folder in onnxruntime. Ratios are the
first way over each other one, round by round.
CPU seconds (user + system) and peak memory are the operating system's own account of the finished process.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.common import ROOT, make_parser, parse

EXAMPLE = ROOT / "examples" / "coffee.png"
Row = tuple[float, float, float]


def run_once(options: Sequence[str], photo: Path, output: Path) -> Row:
    """Wall seconds, CPU seconds, peak memory in MB of one process."""
    command = [sys.executable, "-m", "mobilesam", "segment", str(photo), "--point", "290,120"]
    command += [*options, "-o", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"'{' '.join(command)}' failed")
    process.returncode = 0  # reaped above, by hand
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tell(name: str, rows: Sequence[Row], digits: int, note: str = "") -> None:
    """A line of medians."""
    wall, cpu, memory = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{name:<22}{wall:>10.2f}{cpu:>10.2f}{memory:>10.{digits}f}{note}")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--photo", type=Path, default=EXAMPLE)
    parser.add_argument("--models", nargs="+", help="exported folders")
    arguments = parse(parser, lambda _: ("--runs", "1"))
    ways: dict[str, Sequence[str]] = {backend: ("--backend", backend) for backend in ("onnx", "torch")}
    if arguments.models:
        ways = {Path(model).name: ("--model", model, "--backend", "onnx") for model in arguments.models}

    rows: dict[str, list[Row]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.runs + 1):
            for name, options in ways.items():
                row = run_once(options, arguments.photo, Path(folder) / "mask.png")
                if i:  # the first of each warms the file cache
                    rows[name].append(row)

    versions = ", ".join(f"{name} {version(name)}" for name in ("mobilesam", "onnxruntime", "torch"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"{'':<22}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    for name, found in rows.items():
        tell(name, found, 0)
    first, *others = rows
    for other in others:
        pairs = zip(rows[first], rows[other], strict=True)
        ratios = [(a[0] / b[0], a[1] / b[1], a[2] / b[2]) for a, b in pairs]
        tell("ratio", ratios, 2, f"   {first} / {other}, round by round")


if __name__ == "__main__":
    main()
