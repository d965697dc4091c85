"""What Pillow and numpy would cost in the place of OpenCV: time as a ratio, and the largest difference of the results.

    python -m benchmarks.without_opencv

Only uses that Pillow or numpy have a function for; docs/size.md lists the others, and the conclusion.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.common import machine, make_parser, parse

Use = tuple[str, Callable[[], Any], Callable[[], Any]]


def pillow_resized(array: Any, hw: tuple[int, int]) -> Any:
    """Bilinear resizing of (H, W) float32."""
    return np.asarray(Image.fromarray(array).resize(hw[::-1], Image.Resampling.BILINEAR))


def opencv_resized(array: Any, hw: tuple[int, int]) -> Any:
    """The same, as masks.py does it."""
    return cv2.resize(array, hw[::-1], interpolation=cv2.INTER_LINEAR)


def opencv_png(array: Any) -> bytes:
    """A PNG, as the service answers it."""
    return cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()


def pillow_png(array: Any) -> bytes:
    """A PNG by Pillow, with the same effort of compression."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=3)
    return file.getvalue()


def uses(side: int) -> list[Use]:
    """Each use as (name, by OpenCV, by Pillow or numpy), on a photo of side x 3/4 side."""
    rng = np.random.default_rng(0)
    height, width = side * 3 // 4, side
    coarse = rng.normal(size=(128, 128)).astype(np.float32)
    low = opencv_resized(coarse, (512, 512))[:384]
    rgb = opencv_resized(rng.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8), (height, width))
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=92)
    jpeg = file.getvalue()
    code = np.frombuffer(jpeg, np.uint8)
    mask = (opencv_resized(low, (height, width)) > 0).astype(np.uint8)
    small = (height * 300 // max(height, 300), 300) if width > 300 else (height, width)
    return [
        ("logits, 128 to 512", lambda: opencv_resized(coarse, (512, 512)), lambda: pillow_resized(coarse, (512, 512))),
        (
            "logits to the photo",
            lambda: opencv_resized(low, (height, width)),
            lambda: pillow_resized(low, (height, width)),
        ),
        ("logits to a photo of 300 px", lambda: opencv_resized(low, small), lambda: pillow_resized(low, small)),
        (
            "JPEG to pixels",
            lambda: cv2.imdecode(code, cv2.IMREAD_COLOR_RGB),
            lambda: np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")),
        ),
        ("mask turned for run lengths", lambda: cv2.transpose(mask), lambda: np.ascontiguousarray(mask.T)),
        ("mask to PNG", lambda: len(opencv_png(mask * 255)), lambda: len(pillow_png(mask * 255))),
        ("cut-out to PNG", lambda: len(opencv_png(rgb)), lambda: len(pillow_png(rgb))),
    ]


def measure(one: Use, repeats: int) -> str:
    """A row of the table: milliseconds of both in turn, their ratio, and how much the results differ."""
    name, opencv, other = one
    difference = np.abs(np.asarray(opencv(), np.float64) - np.asarray(other(), np.float64)).max()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, taken in zip((opencv, other), times, strict=True):
            start = perf_counter()
            call()
            taken.append(1000 * (perf_counter() - start))
    first, second = (median(taken) for taken in times)
    return f"| {name} | {first:.2f} | {second:.2f} | {second / first:.1f} | {difference:.3g} |"


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--side", type=int, default=4000, help="of the photo, in pixels")
    parser.add_argument("--repeats", type=int, default=15)

    def smoke(_: Path) -> Sequence[str]:
        return ["--side", "320", "--repeats", "1"]

    arguments = parse(parser, smoke)
    cv2.setNumThreads(1)  # as many as Pillow uses
    print(f"{machine(1, ['opencv-python-headless', 'pillow', 'numpy'])}, a photo of {arguments.side} px")
    print("| use | OpenCV, ms | Pillow or numpy, ms | ratio | largest difference |\n|---|---|---|---|---|")
    for one in uses(arguments.side):
        print(measure(one, arguments.repeats))


if __name__ == "__main__":
    main()
