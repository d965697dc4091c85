"""What a second look costs: one prompt and many boxes of an embedded photo, with and without it.

    python benchmarks/zoom.py [--model embedded] [--repeat 9] [--threads 2]

All take turns in one process; medians, and the ratio to the encoder's pass over the photo within each turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from pairs import machine  # type: ignore[import-not-found]

import mobilesam

PHOTO = Path(__file__).parents[1] / "examples" / "coffee.png"
BOX = (170, 15, 260, 90)
MANY = [(30 * i, 20 * i, 30 * i + 80, 20 * i + 60) for i in range(16)]
POINT = (215, 50)


def questions(sam: mobilesam.Predictor) -> dict[str, Callable[[], object]]:
    """What is timed, each to its masks; the encoder first."""
    image = sam.embed(PHOTO)
    return {
        "embed": lambda: sam.embed(PHOTO),
        "box, one look": lambda: image.predict(box=BOX, zoom=False).best,
        "box, second look": lambda: image.predict(box=BOX, zoom=True).best,
        "click, one look": lambda: image.predict(points=[POINT], zoom=False).best,
        "click, second look": lambda: image.predict(points=[POINT], zoom=True).best,
        "16 boxes, one look": lambda: [found.best for found in image.predict_batch(boxes=MANY, zoom=False)],
        "16 boxes, second look": lambda: [found.best for found in image.predict_batch(boxes=MANY, zoom=True)],
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for backend in ("onnx", "openvino"):
        sam = mobilesam.load(options.model, backend=backend, threads=options.threads)
        asked = questions(sam)
        seconds: dict[str, list[float]] = {name: [] for name in asked}
        for turn in range(options.repeat + 1):
            for name, ask in asked.items():
                start = time.perf_counter()
                ask()
                if turn:  # the first warms up
                    seconds[name].append(time.perf_counter() - start)
        print(f"\n{backend}, {sam.info.image_size} px; {machine(options.threads, ('onnxruntime', 'openvino'))}")
        reference = seconds["embed"]
        for name, values in seconds.items():
            ratio = statistics.median(value / of for value, of in zip(values, reference, strict=True))
            print(f"{name:<22} {1000 * statistics.median(values):7.1f} ms   {ratio:5.2f} of embed")


if __name__ == "__main__":
    main()
