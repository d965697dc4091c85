"""A cold `mobilesam segment`, onnxruntime against torch: whole processes, in turn, medians and ratios.

    python -m benchmarks.cold_start [--runs 7] [--photo examples/coffee.png]

Each run is a new process that opens one photo, loads the embedded model, answers one click and writes the mask.
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
from importlib.metadata import version
from pathlib import Path

from benchmarks.common import ROOT, make_parser, parse

EXAMPLE = ROOT / "examples" / "coffee.png"
BACKENDS = ("onnx", "torch")


def run_once(backend: str, photo: Path, output: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, peak memory in MB of one process."""
    command = [sys.executable, "-m", "mobilesam", "segment", str(photo), "--point", "290,120"]
    command += ["--backend", backend, "-o", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"'{' '.join(command)}' failed")
    process.returncode = 0  # reaped above, by hand
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--photo", type=Path, default=EXAMPLE)
    arguments = parse(parser, lambda _: ("--runs", "1"))

    rows: dict[str, list[tuple[float, float, float]]] = {backend: [] for backend in BACKENDS}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.runs + 1):
            for backend in BACKENDS:
                row = run_once(backend, arguments.photo, Path(folder) / "mask.png")
                if i:  # the first of each warms the file cache
                    rows[backend].append(row)

    versions = ", ".join(f"{name} {version(name)}" for name in ("mobilesam", "onnxruntime", "torch"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"{'':<10}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    for backend in BACKENDS:
        medians = [statistics.median(column) for column in zip(*rows[backend], strict=True)]
        print(f"{backend:<10}{medians[0]:>10.2f}{medians[1]:>10.2f}{medians[2]:>10.0f}")
    pairs = zip(rows["onnx"], rows["torch"], strict=True)
    ratios = [[a / b for a, b in zip(onnx, torch, strict=True)] for onnx, torch in pairs]
    medians = [statistics.median(column) for column in zip(*ratios, strict=True)]
    print(f"{'ratio':<10}{medians[0]:>10.2f}{medians[1]:>10.2f}{medians[2]:>10.2f}   onnx / torch, pair by pair")


if __name__ == "__main__":
    main()
