"""Recipes, reports, journals, histories, and the records by which `everything` knows what is finished."""

from __future__ import annotations

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
    from mobilesam.evaluate.compare import compare_reports
    from mobilesam.evaluate.report import read_report

    found = read_report(write(folder / "r.json", data))
    compare_reports(found, found)


def journal(data: bytes, folder: Path) -> None:
    """The journal of an evaluation."""
    from mobilesam.data.photo import PhotoId
    from mobilesam.evaluate.journal import head_line, read_journal

    states = {PhotoId(line["dataset"], line["photo"]): line["state"] for line in seeds.journal_lines()}
    path = folder / "journal.jsonl"
    write(path, head_line("x").encode() + data)
    found = read_journal(path, "x", states)
    if path.exists() and read_journal(path, "x", states) != found and "nan" not in repr(found):
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
