"""What a second look costs: one prompt and many boxes of an embedded photo, with and without it.

    python -m benchmarks.zoom [--model embedded] [--repeat 9] [--threads 2]

All take turns in one process; medians, and the ratio to the encoder's pass over the photo within each turn, by the
clock and in processor time, which other work on the machine disturbs less.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import mobilesam
from benchmarks.common import ROOT, machine, make_parser, parse

PHOTO = ROOT / "examples" / "coffee.png"
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
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-size", type=int, help="side of the picture; the model's own unless given")
    options = parse(parser, lambda _: ("--repeat", "1", "--image-size", "256"))
    for backend in ("onnx", "openvino"):
        sam = mobilesam.load(options.model, backend=backend, threads=options.threads, image_size=options.image_size)
        asked = questions(sam)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
        for turn in range(options.repeat + 1):
            for name, ask in asked.items():
                wall, cpu = time.perf_counter(), time.process_time()
                ask()
                if turn:  # the first warms up
                    seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        print(f"\n{backend}, {sam.info.image_size} px; {machine(options.threads, ('onnxruntime', 'openvino'))}")
        reference = seconds["embed"]
        for name, values in seconds.items():
            texts = []
            for i, clock in enumerate(("wall", "CPU")):
                median = statistics.median(value[i] for value in values)
                ratio = statistics.median(value[i] / of[i] for value, of in zip(values, reference, strict=True))
                texts.append(f"{1000 * median:7.1f} ms {clock}, {ratio:5.2f} of embed")
            print(f"{name:<22} {'   '.join(texts)}")


if __name__ == "__main__":
    main()
