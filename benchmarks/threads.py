"""Threads that share one `Predictor`: are all answers those of one thread?

    python -m benchmarks.threads [--threads 8] [--calls 2000] [--image-size 256]

The calls are mixed: photos of several sizes are embedded and clicked; a photo that all threads share gets clicks, boxes
with second looks, and many points at once.
Each answer's logits are compared with those of the same call, made before by one thread. Exit code 1 if one differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import mobilesam
from benchmarks.common import machine, make_parser, parse
from mobilesam.predict.backend import Floats
from mobilesam.tables import table

BACKENDS = ("onnx", "openvino")
SIDES = ((64, 300), (200, 150), (90, 500), (333, 333))
TOLERANCE = 1e-4  # of logits of about 10: the order of sums may differ between calls in OpenVINO


def calls_of(sam: mobilesam.Predictor) -> list[tuple[str, Callable[[], Floats]]]:
    """Every distinct call: its kind, and a function that makes it."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in SIDES]
    shared = sam.embed(photos[-1])
    found: list[tuple[str, Callable[[], Floats]]] = []
    for photo in photos:
        centre = (photo.shape[1] / 2, photo.shape[0] / 2)
        found.append(("embed and click", lambda p=photo, c=centre: sam.embed(p).predict(points=[c]).low_res))  # type: ignore[misc]
    for x in range(20, 320, 60):
        found.append(("click", lambda x=x: shared.predict(points=[(x, 90)], zoom=False).low_res))  # type: ignore[misc]
        found.append(("box", lambda x=x: shared.predict(box=(x / 2, 10, x, 200), zoom=True).low_res))  # type: ignore[misc]
    grid = rng.uniform(0, 333, (24, 2))
    found.append(
        (
            "24 points in one",
            lambda: np.concatenate([p.low_res for _, p in shared.predict_points(grid, min_score=-np.inf)]),
        )
    )
    return found


def compare(backend: str, threads: int, count: int, image_size: int) -> list[tuple[object, ...]]:
    """Rows of the table: calls of each kind, and how many differed."""
    sam = mobilesam.load(backend=backend, threads=1, image_size=image_size)  # type: ignore[arg-type]
    calls = calls_of(sam)
    expected = [call() for _, call in calls]
    order = np.random.default_rng(1).integers(0, len(calls), count).tolist()
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda i: calls[i][1](), order))
    made, wrong = Counter[str](), Counter[str]()
    for i, answer in zip(order, answers, strict=True):
        kind = calls[i][0]
        made[kind] += 1
        wrong[kind] += answer.shape != expected[i].shape or not np.allclose(answer, expected[i], atol=TOLERANCE)
    return [(backend, kind, made[kind], wrong[kind]) for kind in made]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=256)
    arguments = parse(parser, lambda _: ("--threads", "2", "--calls", "12"))
    print(machine(arguments.threads, ("mobilesam", "onnxruntime", "openvino")))
    rows = [
        row
        for backend in BACKENDS
        for row in compare(backend, arguments.threads, arguments.calls, arguments.image_size)
    ]
    print("\n".join(table(("runtime", "calls", "made", "differ"), rows)))
    if any(row[-1] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
