"""`mobilesam bench`: time, memory, size and mask agreement of every installed format, on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mobilesam.cli import options


def bench(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL|FOLDER]...", help="Names, checkpoints, exported folders.")
    ] = None,
    photo: Annotated[Path | None, typer.Option(help="The photo to encode; default: an example of 600x400.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Processes for each model, in turn.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Photos in each process; three times as many clicks.")] = 10,
    forms: Annotated[
        list[str] | None, typer.Option("--format", help="Only this format; repeatable. Default: all.")
    ] = None,
    precisions: Annotated[
        list[str] | None, typer.Option("--precision", help="Only this precision; repeatable. Default: all.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Per operator. Default: the processor's cores.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Two formats, one round: shows that it runs.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Export models to every installed format and measure them, one process after the other.

    Times are also given as ratios to onnxruntime in float32, which is part of every run.
    """
    from mobilesam.evaluate import bench as measuring
    from mobilesam.evaluate.bench_exports import Wanted, is_export, subjects
    from mobilesam.extras import require
    from mobilesam.web import static_folder

    if smoke and (options.is_given("rounds") or options.is_given("repeats")):
        raise typer.BadParameter("--smoke measures one photo in one round; leave out --rounds and --repeats")
    given = models or ["embedded"]
    if not all(is_export(model) for model in given):
        require("torch", "torch", "exporting what is measured")
    elif forms or precisions:
        raise typer.BadParameter("--format and --precision choose exports of a model; a FOLDER is measured as it is")
    shown = photo or static_folder() / "examples" / "coffee.png"
    count = threads or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as scratch:
        found, missing = subjects(given, Path(scratch), Wanted(forms or (), precisions or (), smoke))
        rows = measuring.run_all(found, shown, 1 if smoke else rounds, 1 if smoke else repeats, count)
    notes = "".join(f"\n{sentence}" for sentence in missing)
    result = {"machine": measuring.machine(count), "rows": measuring.as_records(rows), "missing": missing}
    options.say(result, measuring.table(rows) + notes, as_json)
