"""Draw docs/images/formats.svg from the output of `mobilesam bench --json`: size, time and agreement of each format.

mobilesam bench --json > bench.json
python scripts/draw_formats.py bench.json
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 460, 60, 50, 30, 170
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def colour(iou: float | None) -> str:
    """Dark green for equal masks, yellow at 0.99, red from 0.97 down; grey where it was not measured."""
    if iou is None:
        return "#999999"
    loss = min(1.0, (1 - iou) / 0.03)
    return f"hsl({140 - 140 * loss:.0f} 70% 40%)"


def scale(values: list[float], start: float, end: float) -> Any:
    """A logarithmic scale from values to pixels, with some room at both ends."""
    low, high = math.log(min(values) / 1.3), math.log(max(values) * 1.3)
    return lambda value: start + (math.log(value) - low) / (high - low) * (end - start)


def draw(rows: list[dict[str, Any]]) -> str:
    """The picture: size to the right, time of a photo with one click upwards, agreement as colour."""
    times = [row["encode_ms"] + row["click_ms"] for row in rows]
    sizes = [row["megabytes"] for row in rows]
    x, y = scale(sizes, LEFT, WIDTH - RIGHT), scale(times, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" ',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for step in STEPS:
        if min(sizes) / 1.3 < step < max(sizes) * 1.3:
            parts.append(f'<path d="M{x(step):.0f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
            parts.append(f'<text x="{x(step):.0f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{step} MB</text>')
        if min(times) / 1.3 < step < max(times) * 1.3:
            parts.append(f'<path d="M{LEFT} {y(step):.0f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y(step) + 4:.0f}" text-anchor="end">{step} ms</text>')
    for number, (row, size, time) in enumerate(zip(rows, sizes, times, strict=True), 1):
        iou = row["iou"]
        name = f"{number} {row['form']} {row['precision']}"
        if row["backend"] not in (row["form"], "onnx"):
            name += f" on {row['backend']}"
        fill = colour(iou)
        parts.append(f'<circle cx="{x(size):.1f}" cy="{y(time):.1f}" r="8" fill="{fill}"/>')
        place = f'x="{x(size):.1f}" y="{y(time) + 4:.1f}"'
        parts.append(f'<text {place} fill="white" font-size="10" text-anchor="middle">{number}</text>')
        line = TOP + 10 + 30 * (number - 1)
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{line}" fill="{fill}">{escape(name)}</text>')
        what = "agreement not measured" if iou is None else f"mask IoU {iou:.3f}"
        parts.append(f'<text x="{WIDTH - RIGHT + 22}" y="{line + 13}" fill="#555" font-size="11">{what}</text>')
    parts.append(
        f'<text x="{LEFT}" y="{HEIGHT - 10}">size of both files; upwards: encoding a photo and one click</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["rows"]
    path = ROOT / "docs" / "images" / "formats.svg"
    path.write_text(draw(rows), encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
