"""Markdown tables of a report and of a comparison."""

from __future__ import annotations

from mobilesam.evaluate.compare import Difference
from mobilesam.evaluate.records import RECALL_LIMITS
from mobilesam.evaluate.summaries import Calibration, Part, Recall, Report
from mobilesam.tables import table


def to_markdown(report: Report) -> str:
    """All tables of a report that are not empty, with a line about the model and the data above."""
    model, counts, run = report.model, report.counts, report.run
    words = [f"stored as {run.stored}" if run.stored else "", run.backend, run.precision]
    ran = "".join(f", {word}" for word in words if word)
    about = (
        f"`{model['name']}` {model['weights_sha256'][:12]}{ran}, {counts.photos} photos, {counts.objects} objects, "
        f"{counts.left_out} left out, {counts.problems} problems"
    )
    tables = [
        protocol_table(report),
        recall_table(report.everything) if report.everything else [],
        click_table(report),
        *part_tables(report),
        calibration_table(report.calibration) if report.calibration else [],
    ]
    return "\n\n".join([about, *("\n".join(lines) for lines in tables if lines)]) + "\n"


def protocol_table(report: Report) -> list[str]:
    """IoU and its parts by object size, one row per protocol."""
    rows = [
        [
            name,
            one.num_objects,
            f"{one.mean_iou:.3f}",
            f"{one.low:.3f}-{one.high:.3f}",
            f"{one.mean_iou_over_photos:.3f}",
            f"{one.boundary_iou:.3f}",
            f"{one.components:.1f}",
            *(f"{one.by_size[size].mean_iou:.3f}" if size in one.by_size else "" for size in "SML"),
        ]
        for name, one in report.summary.items()
        if one.num_objects
    ]
    header = ["protocol", "objects", "mean IoU", "95 %", "over photos", "boundary IoU", "pieces", *"SML"]
    return table(header, rows) if report.summary else []


def recall_table(recall: Recall) -> list[str]:
    """Average recall of the protocol `everything`."""
    intervals = [recall.average_recall[limit] for limit in RECALL_LIMITS]
    header = ["everything: photos", "objects", "prompts per photo", "masks per photo"]
    counts = [recall.num_photos, recall.num_objects, f"{recall.mean_num_prompts:.0f}", f"{recall.mean_num_masks:.1f}"]
    return table(
        [*header, *(f"AR@{limit}" for limit in RECALL_LIMITS)],
        [[*counts, *(f"{one.mean:.3f} ({one.low:.3f}-{one.high:.3f})" for one in intervals)]],
    )


def click_table(report: Report) -> list[str]:
    """Mean number of clicks (NoC) and failures of the protocol `noc`."""
    clicks = report.summary["noc"].clicks if "noc" in report.summary else None
    if clicks is None:
        return []
    cells = [f"{clicks.noc_85:.2f}", clicks.failed_85, f"{clicks.noc_90:.2f}", clicks.failed_90]
    return table(["NoC@85", "failed", "NoC@90", "failed"], [cells])


def part_tables(report: Report) -> list[list[str]]:
    """Mean IoU by data set and by source, each only if there are several."""
    by_dataset = {name: one.by_dataset for name, one in report.summary.items()}
    by_source = {name: one.by_source for name, one in report.summary.items()}
    pairs = {(row.photo.dataset, row.source) for row in report.rows}
    num_datasets, num_sources = (len({pair[i] for pair in pairs}) for i in (0, 1))
    tables = []
    # Where each data set has one source and each source one data set, both tables would show the same numbers.
    if num_datasets > 1 and not num_datasets == num_sources == len(pairs):
        tables.append(part_table("protocol, by data set", by_dataset))
    if num_sources > 1:
        tables.append(part_table("protocol, by source", by_source))
    return tables


def part_table(title: str, parts: dict[str, dict[str, Part]]) -> list[str]:
    """Mean IoU and number of objects, one row per protocol and one column per part."""
    # A protocol may skip all objects of a part, so columns are those of all protocols and cells may be empty.
    names = sorted({name for one in parts.values() for name in one})
    rows = [
        [protocol, *(f"{one[n].mean_iou:.3f} ({one[n].num_objects})" if n in one else "" for n in names)]
        for protocol, one in parts.items()
    ]
    return table([title, *names], rows)


def calibration_table(calibration: Calibration) -> list[str]:
    """Calibration of the model's scores: predicted against true IoU."""
    chosen, best = calibration.mean_iou_of_best_scored, calibration.mean_iou_of_best
    about = (
        "The best-scored of three masks is the best by IoU in "
        f"{100 * calibration.best_scored_is_best:.0f} % of clicks. "
        f"Mean IoU of the best-scored: {chosen:.3f}; of the best: {best:.3f}."
    )
    rows = [
        [f"{one.start:.1f}-{one.end:.1f}", one.count, f"{one.mean_score:.3f}", f"{one.mean_iou:.3f}"]
        for one in calibration.bins
    ]
    return [about, "", *table(["score", "masks", "mean score", "mean IoU"], rows)]


def compare_markdown(differences: dict[str, Difference]) -> str:
    """Mean IoU of two reports and their difference, one row per protocol."""
    rows = [
        [name, d.num_objects, f"{d.a:.3f}", f"{d.b:.3f}", f"{d.difference:+.3f}", f"{d.low:+.3f} to {d.high:+.3f}"]
        for name, d in differences.items()
    ]
    return "\n".join(table(["protocol", "objects", "A", "B", "B - A", "95 %"], rows)) + "\n"
