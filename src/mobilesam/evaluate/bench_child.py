"""One measurement of `mobilesam bench`, in a process of its own; prints JSON in milliseconds and megabytes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from mobilesam.image import open_photo
from mobilesam.predict.load import load
from mobilesam.processes import peak_mb


def measure(
    folder: Path, backend: Any, precision: Any, photo: Path, repeats: int, threads: int
) -> dict[str, list[float]]:
    """Open a model and time the first click, then encoding and clicking again."""
    rgb = open_photo(photo)
    start = time.perf_counter()
    sam = load(folder, backend=backend, precision=precision, threads=threads)
    click = [(rgb.shape[1] // 2, rgb.shape[0] // 2)]
    image = sam.embed(rgb)
    image.predict(points=click, zoom=False)
    cold = time.perf_counter() - start
    encode, clicks = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        image = sam.embed(rgb)
        encode.append(time.perf_counter() - start)
    for _ in range(3 * repeats):
        start = time.perf_counter()
        _ = image.predict(points=click, zoom=False).best.array
        clicks.append(time.perf_counter() - start)
    times = {"cold": [cold], "encode": encode, "click": clicks}
    return {**{name: [1000 * t for t in found] for name, found in times.items()}, "peak_mb": [peak_mb()]}


if __name__ == "__main__":
    folder, backend, precision, photo, repeats, threads = sys.argv[1:]
    print(json.dumps(measure(Path(folder), backend, precision, Path(photo), int(repeats), int(threads))))
