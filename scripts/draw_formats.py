"""Join the output of `mobilesam bench --json` from several environments: a table and a picture for each model.

mobilesam bench --json > main.json
LITERT/bin/mobilesam bench --format litert --json > litert.json
EXECUTORCH/bin/mobilesam bench --format executorch --format coreml --json > executorch.json
python scripts/draw_formats.py main.json litert.json executorch.json

Tables are written into docs/results/formats.md between `<!-- bench MODEL -->` and `<!-- end -->`, pictures to
docs/images/formats-MODEL.svg. Every file has a row of onnxruntime in float32: the first file's is in the table, and
ratios are to the one of the same file.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
WIDTH, LEFT, BOTTOM, TOP, RIGHT = 780, 60, 50, 30, 190
PARTS, RATIOS = ("encode_ms", "click_ms", "cold_ms"), ("encode_ratio", "click_ratio", "cold_ratio")
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
    """The picture: size to the right, time of a photo with one click upwards, agreement as colour.

    A time is that of onnxruntime in float32 in the first run, multiplied by the ratio to it in the row's own run.
    """
    rows = [row for row in rows if row["encode_ms"]]
    base = rows[0]
    times = [base[PARTS[0]] * row[RATIOS[0]] + base[PARTS[1]] * row[RATIOS[1]] for row in rows]
    sizes = [row["megabytes"] for row in rows]
    height = max(460, TOP + BOTTOM + 30 * len(rows))
    x, y = scale(sizes, LEFT, WIDTH - RIGHT), scale(times, height - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" ',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for step in STEPS:
        if min(sizes) / 1.3 < step < max(sizes) * 1.3:
            parts.append(f'<path d="M{x(step):.0f} {TOP}V{height - BOTTOM}" stroke="#ddd"/>')
            parts.append(f'<text x="{x(step):.0f}" y="{height - BOTTOM + 18}" text-anchor="middle">{step} MB</text>')
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
        f'<text x="{LEFT}" y="{height - 10}">size of both files; upwards: encoding a photo and one click</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def joined(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Model → its rows of all runs, onnxruntime in float32 once and first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for row in run["rows"]:
            rows = found.setdefault(row["model"], [])
            if not (rows and is_base(row)):
                rows.append(row)
    return found


def is_base(row: dict[str, Any]) -> bool:
    """Whether it is what ratios are to."""
    return (row["form"], row["precision"], row["backend"]) == ("onnx", "float32", "onnx")


def table(model: str, rows: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """The table of a model, and a line about each run."""
    head = ("format", "precision", "backend", "MB", "error", "mask IoU", "encode ms", "click ms", "cold ms", "peak MB")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["form"], row["precision"], row["backend"] or "-", f"{row['megabytes']:.1f}"]
        cells += ["-" if row["error"] is None else f"{row['error']:.1e}"]
        cells += ["-" if row["iou"] is None else f"{row['iou']:.4f}"]
        for part, ratio in zip(PARTS, RATIOS, strict=True):
            cells.append(f"{row[part]:.1f} ({row[ratio]:.2f})" if row[part] else "-")
        cells.append(f"{row['peak_mb']:.0f}" if row["peak_mb"] else "-")
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for run in runs:
        own = [row for row in run["rows"] if row["model"] == model]
        if own:
            lines.append(about(run["machine"], next(filter(is_base, own))))
    return "\n".join(lines)


def about(machine: dict[str, Any], base: dict[str, Any]) -> str:
    """The line about a run: where, with what, and how long onnxruntime took in float32."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    where = f"{machine['date']}, {machine['processor']}, {machine['threads']} threads of {machine['cores']} cores"
    took = f"{base['encode_ms']:.1f} ms to encode, {base['click_ms']:.1f} for a click, {base['cold_ms']:.0f} cold"
    return f"- {where}, Python {machine['python']}, {versions}: onnxruntime in float32 took {took}."


def write(model: str, text: str, document: Path) -> None:
    """Put a table between the marks of its model.

    Raises:
        SystemExit: the document has no such marks.
    """
    marks = re.compile(rf"(<!-- bench {re.escape(model)} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    new, count = marks.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", document.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{document} needs the marks '<!-- bench {model} -->' and '<!-- end -->' once")
    document.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder of the documents")
    arguments = parser.parse_args()
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in arguments.files]
    for model, rows in joined(runs).items():
        picture = arguments.docs / "images" / f"formats-{model}.svg"
        picture.write_text(draw(rows), encoding="utf-8")
        write(model, table(model, rows, runs), arguments.docs / "results" / "formats.md")
        print(picture)


if __name__ == "__main__":
    main()
