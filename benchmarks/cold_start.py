"""A cold `mobilesam segment`: whole processes in turn, of two backends, of exported models, or of two versions.

    python -m benchmarks.cold_start [--runs 7] [--photo examples/coffee.png] [--box 170,15,410,310]
        [--models FOLDER ... | --against CHECKOUT]

Each run is a new process that opens one photo, loads the model, answers one click, or a box, and writes the mask. By
default it is the embedded model in onnxruntime and in torch; with `--models`, each exported folder in onnxruntime; with
`--against`, this version and that of another checkout, both in onnxruntime. Ratios are the first way over each other
one, round by round. CPU seconds (user + system) and peak memory are the operating system's own account of the finished
process.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.common import ROOT, make_parser, parse
from mobilesam import processor

EXAMPLE = ROOT / "examples" / "coffee.png"
Row = tuple[float, float, float]


@dataclass(frozen=True)
class Way:
    """One of the commands that are compared."""

    options: Sequence[str]
    source: Path = ROOT
    """The checkout whose package runs."""


def run_once(way: Way, photo: Path, prompt: Sequence[str], output: Path) -> Row:
    """Wall seconds, CPU seconds, peak memory in MB of one process."""
    command = [sys.executable, "-m", "mobilesam", "segment", str(photo), *prompt]
    command += [*way.options, "-o", str(output)]
    environment = os.environ | {"PYTHONPATH": str((way.source / "src").resolve())}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"'{' '.join(command)}' failed")
    process.returncode = 0  # the kernel has already reported its end, with what it used
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def ways_of(arguments: argparse.Namespace) -> dict[str, Way]:
    """What is compared, by name."""
    if arguments.models:
        return {Path(model).name: Way(("--model", model, "--backend", "onnx")) for model in arguments.models}
    if arguments.against:
        onnx = ("--backend", "onnx")
        return {"this": Way(onnx), "other": Way(onnx, arguments.against)}
    return {backend: Way(("--backend", backend)) for backend in ("onnx", "torch")}


def medians(rows: Sequence[Row]) -> Row:
    """The median of each column."""
    wall, cpu, peak = (statistics.median(column) for column in zip(*rows, strict=True))
    return wall, cpu, peak


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--photo", type=Path, default=EXAMPLE)
    parser.add_argument("--box", help="in place of a click")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--models", nargs="+", help="exported folders")
    choice.add_argument("--against", type=Path, help="a checkout of another version of this repository")
    arguments = parse(parser, lambda _: ("--runs", "1"))
    ways = ways_of(arguments)
    prompt = ("--box", arguments.box) if arguments.box else ("--point", "290,120")

    rows: dict[str, list[Row]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.runs + 1):
            for name, way in list(ways.items())[:: 1 if i % 2 else -1]:  # each comes first in turn
                # A file of its own for each: a version may refuse to replace what another one wrote.
                row = run_once(way, arguments.photo, prompt, Path(folder) / f"{name}.png")
                if i:  # the first of each warms the file cache
                    rows[name].append(row)

    versions = ", ".join(f"{name} {version(name)}" for name in ("mobilesam", "onnxruntime", "torch"))
    print(f"{processor.describe()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print("\n| | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for name, found in rows.items():
        wall, cpu, peak = medians(found)
        print(f"| {name} | {wall:.3f} | {cpu:.3f} | {peak:.0f} |")
    first, *others = rows
    for other in others:
        ratios = [(a[0] / b[0], a[1] / b[1], a[2] / b[2]) for a, b in zip(rows[first], rows[other], strict=True)]
        wall, cpu, peak = medians(ratios)
        print(f"| {first} / {other}, round by round | {wall:.2f} | {cpu:.2f} | {peak:.2f} |")


if __name__ == "__main__":
    main()
