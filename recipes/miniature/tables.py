"""The tables and the figure of docs/results/distillation.md, from what run.py left in runs/miniature.

    python recipes/miniature/tables.py [--figure docs/images/miniature.png]

Intervals are a bootstrap over photos of the mean over seeds, so they say what other photos would change; the column
`seeds` says what another seed does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.data.photo import PhotoId
from mobilesam.evaluate.metrics import bootstrap
from mobilesam.evaluate.report import read_report
from mobilesam.tables import table

RUNS = Path("runs/miniature")
METHODS = {
    "coupled": "coupled",
    "semi-coupled": "semi-coupled",
    "decoupled": "decoupled",
    "tuned-encoder": "decoupled, then masks, decoder frozen",
    "tuned-both": "decoupled, then masks, decoder learns",
    "coupled-long": "coupled, four times as long",
}
ABLATIONS = {
    "decoupled-0": "as above, seed 0: batch 16, 750 steps",
    "batch16-steps375": "batch 16, 375 steps",
    "batch8-steps375": "batch 8, 375 steps",
    "data50": "50 % of the photos",
    "data25": "25 % of the photos",
    "padding": "padded cells in the loss, as in the paper",
    "int8": "int8 store",
    "views": "a mirrored crop half the time",
}
COLUMNS = {"box": "box IoU", "click": "click IoU", "teacher": "agreement, click"}
COLOURS = ("#d55e00", "#e69f00", "#0072b2", "#009e73", "#cc79a7", "#d55e0080")


def ious_of(name: str, protocol: str) -> dict[tuple[PhotoId, str], float]:
    """(photo, object) → IoU of one evaluation."""
    rows = read_report(RUNS / name / "evaluation.json").rows
    return {(row.photo, row.object): row.iou for row in rows if row.protocol == protocol}


def score(names: Sequence[str], protocol: str) -> str:
    """Mean over seeds, its interval, and the seeds' own means."""
    runs = [ious_of(name, protocol) for name in names]
    objects = sorted(runs[0])
    ious = [float(np.mean([run[one] for run in runs])) for one in objects]
    low, high = bootstrap(ious, [photo for photo, _ in objects])
    text = f"{np.mean(ious):.3f} ({low:.3f}-{high:.3f})"
    means = [float(np.mean(list(run.values()))) for run in runs]
    return text if len(runs) == 1 else f"{text}; seeds {min(means):.3f}-{max(means):.3f}"


def seeds(method: str) -> list[str]:
    """The finished runs of a method."""
    if (RUNS / method / "evaluation.json").exists():
        return [method]
    return sorted(p.parent.name for p in RUNS.glob(f"{method}-[0-9]/evaluation.json"))


def history(name: str) -> list[dict[str, Any]]:
    """The looks of one run."""
    lines = (RUNS / name / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if "validation/box_iou" in line]


def curve(method: str, number: str) -> list[tuple[float, float]]:
    """(CPU seconds, mean over seeds) at each look; a fine-tuned run begins where its half run ended."""
    histories = []
    for name in seeds(method):
        before = history(f"decoupled-half-{name[-1]}") if method.startswith("tuned") else []
        offset = before[-1]["cpu_seconds"] if before else 0.0
        later = history(name)[1:] if before else history(name)
        looks = [(h["cpu_seconds"], h[number]) for h in before]
        histories.append(looks + [(h["cpu_seconds"] + offset, h[number]) for h in later])
    points = np.array(histories).mean(axis=0)  # (looks, 2)
    return [(float(seconds), float(value)) for seconds, value in points]


def main_table() -> list[str]:
    """One row per method, and the teacher's own."""
    rows = []
    for method, label in METHODS.items():
        names = seeds(method)
        if names:
            spent = curve(method, "validation/box_iou")[-1][0]
            rows.append([label, str(len(names)), f"{spent:.0f}", *(score(names, p) for p in COLUMNS)])
    rows.append(["the teacher", "", "", *(score(["teacher"], p) for p in COLUMNS)])
    return table(["method", "runs", "CPU s", *COLUMNS.values()], rows)


def ablation_table() -> list[str]:
    """One row per change to the decoupled recipe."""
    rows = []
    for name, label in ABLATIONS.items():
        if (RUNS / name / "evaluation.json").exists():
            last = history(name)[-1]
            rows.append([label, f"{last['validation/embedding_mse']:.4f}", *(score([name], p) for p in COLUMNS)])
    return table(["", "held-out embedding error", *COLUMNS.values()], rows)


def time_table() -> list[str]:
    """When the decoupled student was first as good as the others ended."""
    rows = []
    for number in ("box_agreement", "click_agreement", "box_iou", "click_iou"):
        fast = curve("decoupled", f"validation/{number}")
        for method in ("coupled", "semi-coupled", "coupled-long"):
            if not seeds(method):
                continue
            spent, final = curve(method, f"validation/{number}")[-1]
            reached = next((t for t, value in fast if value >= final), None)
            share = "never" if reached is None else f"{reached:.0f} s, {100 * reached / spent:.0f} %"
            rows.append([number.replace("_", " "), METHODS[method], f"{final:.3f} after {spent:.0f} s", share])
    return table(["held-out", "method", "ends at", "decoupled is there after"], rows)


def draw(path: Path) -> None:
    """Agreement and IoU against training time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    for axis, number in zip(axes, ("box_agreement", "click_agreement", "box_iou", "click_iou"), strict=True):
        for colour, (method, label) in zip(COLOURS, METHODS.items(), strict=True):
            if seeds(method):
                axis.plot(*zip(*curve(method, f"validation/{number}"), strict=True), ".-", color=colour, label=label)
        against = "with the teacher" if "agreement" in number else "with people's masks"
        axis.set_title(f"{number.replace('_', ' ')} {against}")
        axis.set_xlabel("CPU seconds of training")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    axes[-1].legend(fontsize=8, loc="upper right")
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    for lines in (main_table(), time_table(), ablation_table()):
        print("\n".join(lines), end="\n\n")
    if arguments.figure:
        draw(arguments.figure)


if __name__ == "__main__":
    main()
