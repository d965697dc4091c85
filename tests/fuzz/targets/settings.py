"""Recipes, reports, journals, histories, and the records by which `everything` knows what is finished."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fuzz import seeds
from tests.fuzz.targets.common import SilentError, refusal, write


def recipe(data: bytes, folder: Path) -> None:
    """A recipe."""
    from mobilesam.recipe import load_recipe
    from mobilesam.train.config import TrainRecipe

    load_recipe(TrainRecipe, write(folder / "r.toml", data))


def override(data: bytes, folder: Path) -> None:
    """A value of --set, on a valid recipe."""
    from mobilesam.recipe import load_recipe
    from mobilesam.train.config import TrainRecipe

    load_recipe(TrainRecipe, write(folder / "r.toml", seeds.recipes()[0]), [data.decode("utf-8", "surrogateescape")])


def report(data: bytes, folder: Path) -> None:
    """A report, compared with itself."""
    from mobilesam.evaluate.compare import compare
    from mobilesam.evaluate.report import read_report

    rows = read_report(write(folder / "r.json", data)).rows
    compare(rows, rows)


def journal(data: bytes, folder: Path) -> None:
    """The journal of an evaluation."""
    from mobilesam.evaluate.run import read_journal
    from mobilesam.evaluate.settings import EvaluateSettings

    settings = EvaluateSettings(data=("x",), protocols=("click",))
    path = folder / "journal.jsonl"
    write(path, json.dumps({"fingerprint": settings.fingerprint}).encode() + b"\n" + data)
    found = read_journal(path, settings)
    if path.exists() and read_journal(path, settings) != found and "nan" not in repr(found):
        raise SilentError("the journal that is written back holds something else")


def history(data: bytes, folder: Path) -> None:
    """The history of a run that is resumed."""
    from mobilesam.train.log import HISTORY_FILE, read_history

    write(folder / HISTORY_FILE, data)
    read_history(folder, before=100)


def finished(data: bytes, folder: Path) -> None:
    """The record of a photo that `everything` finished, when it is called again."""
    from mobilesam.everything.folder import Job
    from mobilesam.everything.settings import EverythingSettings
    from mobilesam.everything.write import read_record
    from mobilesam.outputs import Outputs
    from tests.fuzz.targets.library import predictor

    path = write(folder / "a.json", data)
    job = Job(predictor(), EverythingSettings(), (), folder)
    job.owner("a")
    refusal(lambda: Outputs().check(path))
    read_record(path)
