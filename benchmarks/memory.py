"""Memory of a process that embeds and prompts photo after photo of mixed sizes, on each runtime.

    python benchmarks/memory.py [--photos 2000] [--image-size 256] [--smoke]

Each runtime gets a new process of its own. Every photo has another size and shape; each is embedded, clicked and boxed,
and every tenth is asked 24 points at once. The resident memory is the operating system's (Linux: /proc/self/statm).
Flat means: its peak after the warm-up stays within 20 % of what it was at the end of the warm-up.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mobilesam import processor

BACKENDS = ("onnx", "openvino")
WARM_UP = 0.1  # of the photos: every part has run, pools have their size
MOST_GROWTH = 1.2


def resident_mb() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def work(backend: str, count: int, image_size: int) -> None:
    """The child: a line of JSON, [photos, MB], at even distances."""
    import mobilesam

    sam = mobilesam.load(backend=backend, threads=1, image_size=image_size)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    step = max(1, count // 40)
    print(json.dumps([0, resident_mb()]), flush=True)
    for i in range(1, count + 1):
        h, w = (int(side) for side in rng.integers(64, 1200, 2))
        image = sam.embed(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        found = image.predict(points=[(w / 2, h / 2)], zoom=False), image.predict(box=(w / 8, h / 8, w / 2, h / 2))
        assert all(answer.best.array.shape == (h, w) for answer in found)
        if i % 10 == 0:
            image.predict_points(rng.uniform(0, (w, h), (24, 2)), min_score=0.3)
        if i % step == 0:
            gc.collect()
            print(json.dumps([i, resident_mb()]), flush=True)


def watch(backend: str, count: int, image_size: int) -> list[tuple[int, float]]:
    """Run the child and collect what it says."""
    command = [sys.executable, __file__, "--child", backend, "--photos", str(count), "--image-size", str(image_size)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [(int(n), float(mb)) for n, mb in map(json.loads, found.stdout.splitlines())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--smoke", action="store_true", help="20 photos: does it run? Says nothing about memory.")
    parser.add_argument("--child", choices=BACKENDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count = 20 if arguments.smoke else arguments.photos
    if arguments.child:
        work(arguments.child, count, arguments.image_size)
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("mobilesam", "onnxruntime", "openvino"))
    print(f"{processor.describe()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"the embedded model at {arguments.image_size} px, {count} photos of 64-1200 px a side")
    for backend in BACKENDS:
        rows = watch(backend, count, arguments.image_size)
        warm = next(mb for n, mb in rows if n >= count * WARM_UP)
        peak = max(mb for n, mb in rows if n >= count * WARM_UP)
        shown = ", ".join(f"{mb:.0f} at {n}" for n, mb in rows[:: max(1, len(rows) // 8)])
        verdict = "flat" if peak <= warm * MOST_GROWTH else "GROWS"
        said = "" if arguments.smoke else f"; peak after warm-up {peak / warm:.2f} of its start: {verdict}"
        print(f"{backend:<10}{shown} MB{said}", flush=True)


if __name__ == "__main__":
    main()
