"""What every kind of run tells at its end: the table of errors, and a report for people and one for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilesam.files import replacing, save_json, save_text
from mobilesam.outputs import ALL
from mobilesam.shards.job import PROBLEMS_FILE, Job
from mobilesam.shards.records import all_done, all_failed
from mobilesam.shards.status import Status
from mobilesam.tables import table

Row = tuple[str, str]


def write_errors(job: Job) -> Path:
    """One line for each photo and prompt without a result, and why: those of the plan, then those of the shards."""
    path = job.folder / "errors.jsonl"
    with replacing(path, ALL) as partial, partial.open("w", encoding="utf-8") as file:
        with (job.folder / PROBLEMS_FILE).open(encoding="utf-8", errors="backslashreplace") as problems:
            file.writelines(problems)
        for name, record in all_done(job.folder):
            for photo, reason in record["errors"]:
                file.write(json.dumps({"photo": photo, "reason": reason, "shard": name}) + "\n")
        for name, record in all_failed(job.folder):
            file.write(json.dumps({"shard": name, "reason": record["reason"]}) + "\n")
    return path


def write_numbers(
    job: Job,
    status: Status,
    *,
    title: str,
    wall_seconds: float,
    new_photos: int,
    rows: Sequence[Row] = (),
    more: dict[str, Any] | None = None,
    parts: Sequence[str] = (),
) -> list[Path]:
    """Write report.json and report.md; returns them.

    Args:
        job: the run.
        status: its state.
        title: of the report for people.
        wall_seconds: of this call.
        new_photos: that were finished during this call, by whomever.
        rows: of its table, beside what all runs tell.
        more: entries of the JSON, likewise.
        parts: paragraphs behind the table.
    """
    rate = new_photos / wall_seconds if wall_seconds else 0.0
    record = {**asdict(status), "wall_seconds": round(wall_seconds, 1), "photos_per_second": round(rate, 2)}
    record["worker_rates"] = [round(one, 2) for one in status.worker_rates]
    record |= {"identity": job.identity, **(more or {})}
    all_rows = [
        ("photos", f"{status.photos_done} of {status.photos}"),
        ("errors", f"{status.errors} (errors.jsonl)"),
        ("photos and prompts that could not be planned", f"{status.problems} (errors.jsonl)"),
        ("shards set aside", str(len(status.set_aside))),
        *([("photos that changed since", str(status.changed))] if status.changed else []),
        ("size", f"{status.bytes / 1e6:.1f} MB"),
        ("photos/s of this call", str(record["photos_per_second"])),
        *rows,
        ("memory of a worker, at most", f"{status.worker_mb:.0f} MB" if status.worker_mb else "unknown"),
    ]
    text = "\n\n".join([f"# {title}", "\n".join(table(("", ""), all_rows)), *parts]) + "\n"
    return [
        save_json(record, job.folder / "report.json", ALL, indent=2),
        save_text(text, job.folder / "report.md", ALL),
    ]
