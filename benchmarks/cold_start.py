"""A cold `mobilesam segment`, onnxruntime against torch: whole processes, in turn, medians and ratios.

    python -m benchmarks.cold_start [--runs 7] [--photo examples/coffee.png] [--against CHECKOUT]

Each run is a new process that opens one photo, loads the embedded model, answers one click and writes the mask.
With `--against`, this version is compared with that of another checkout instead, both in onnxruntime.
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


def run_once(source: Path, backend: str, photo: Path, output: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, peak memory in MB of one process with the package of a checkout."""
    command = [sys.executable, "-m", "mobilesam", "segment", str(photo), "--point", "290,120"]
    command += ["--backend", backend, "-o", str(output)]
    environment = os.environ | {"PYTHONPATH": str((source / "src").resolve())}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"'{' '.join(command)}' failed")
    process.returncode = 0  # the kernel has already reported its end, with what it used
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--photo", type=Path, default=EXAMPLE)
    parser.add_argument("--against", type=Path, help="a checkout of another version of this repository")
    arguments = parse(parser, lambda _: ("--runs", "1"))
    kinds = {"onnx": (ROOT, "onnx"), "torch": (ROOT, "torch")}
    if arguments.against:
        kinds = {"this": (ROOT, "onnx"), "other": (arguments.against, "onnx")}

    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.runs + 1):
            for name, (source, backend) in list(kinds.items())[:: 1 if i % 2 else -1]:  # each comes first in turn
                # A file of its own for each: a version may refuse to replace what another one wrote.
                row = run_once(source, backend, arguments.photo, Path(folder) / f"{name}.png")
                if i:  # the first of each warms the file cache
                    rows[name].append(row)

    versions = ", ".join(f"{name} {version(name)}" for name in ("mobilesam", "onnxruntime", "torch"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print("\n| | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for name in kinds:
        wall, cpu, peak = (statistics.median(column) for column in zip(*rows[name], strict=True))
        print(f"| {name} | {wall:.3f} | {cpu:.3f} | {peak:.0f} |")
    first, second = rows.values()
    ratios = [[a / b for a, b in zip(*pair, strict=True)] for pair in zip(first, second, strict=True)]
    cells = " | ".join(f"{statistics.median(column):.2f}" for column in zip(*ratios, strict=True))
    print(f"| {' / '.join(kinds)}, pair by pair | {cells} |")


if __name__ == "__main__":
    main()
