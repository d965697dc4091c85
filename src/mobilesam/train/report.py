"""The report of a run in Markdown: settings, curves, and the same prompts at its beginning and its end."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from mobilesam.files import replacing, save_text
from mobilesam.outputs import ALL, MARK
from mobilesam.tables import table
from mobilesam.train.log import HISTORY_FILE
from mobilesam.train.state import PICTURES_FOLDER

REPORT_FILE = "report.md"
CURVES_FILE = "curves.png"
Series = dict[str, list[tuple[float, float]]]
# Time axes rather than measurements: they get no curve of their own.
AXES = ("step", "photos", "seconds", "cpu_seconds", "waiting_seconds")


def write_report(output: Path) -> Path:
    """Write `report.md` and `curves.png` into a run's folder from its history."""
    lines = [json.loads(text) for text in (output / HISTORY_FILE).read_text(encoding="utf-8").splitlines()]
    record = json.loads((output / "recipe.json").read_text(encoding="utf-8"))
    with replacing(output / CURVES_FILE, ALL) as partial:
        draw_curves(to_series(lines, "step"), "steps", partial)
    return save_text(f"{to_markdown(output, record, lines)}\n<!-- {MARK} -->\n", output / REPORT_FILE, ALL)


def to_series(lines: list[dict[str, Any]], x: str) -> Series:
    """Convert the lines of a history to a curve per name: (x, y) pairs."""
    series: Series = defaultdict(list)
    for line in lines:
        for name in line.keys() - set(AXES):
            series[name].append((line[x], line[name]))
    return dict(sorted(series.items()))


def draw_curves(series: Series, x_label: str, path: Path) -> None:
    """Draw one small plot per name and save them as one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 3
    rows = -(-len(series) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4 * columns, 2.6 * rows), squeeze=False, layout="constrained"
    )
    for axis, (name, points) in zip(axes.flat, series.items(), strict=False):
        axis.plot(*zip(*points, strict=True), color="#0072b2", linewidth=1.2)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(x_label, fontsize=8)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(series) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def to_markdown(output: Path, record: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """Write the report as Markdown."""
    last = lines[-1]
    share = last["waiting_seconds"] / max(1e-9, last["seconds"])
    page = [
        f"# {output.name}",
        "",
        f"{last['step']} steps, {last['photos']} photos, {last['seconds'] / 60:.1f} minutes "
        f"({last['cpu_seconds'] / 60:.1f} of CPU, {100 * share:.1f} % waiting for data). Data: {record['data']}.",
        "",
        f"{record['machine']}; " + ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "",
        f"![curves]({CURVES_FILE})",
        "",
        *validation_table(lines),
        *pictures(output),
        "## Recipe",
        "",
        "```json",
        json.dumps(record["recipe"], indent=1),
        "```",
        "",
    ]
    return "\n".join(page)


def validation_table(lines: list[dict[str, Any]]) -> list[str]:
    """The table of the first and the last validation."""
    looks = [line for line in lines if any(name.startswith("validation/") for name in line)]
    if not looks:
        return []
    names = sorted(name for name in looks[-1] if name.startswith("validation/"))
    return [
        "## Held-out photos",
        "",
        *table(
            ["", "first", "last"],
            [[n.removeprefix("validation/"), *(f"{look[n]:.4f}" for look in (looks[0], looks[-1]))] for n in names],
        ),
        "",
    ]


def pictures(output: Path) -> list[str]:
    """The Markdown of the first and the last validation picture, of the same prompts."""
    found = sorted((output / PICTURES_FOLDER).glob("*.jpg"))
    if not found:
        return []
    chosen = [found[0], found[-1]] if len(found) > 1 else found
    return [f"After {int(p.stem)} steps:\n\n![prompts]({PICTURES_FOLDER}/{p.name})\n" for p in chosen]
