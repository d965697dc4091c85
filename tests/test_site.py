"""The site of documents: built without a warning, complete, from no other host; the examples of docstrings run."""

from __future__ import annotations

import doctest
import functools
import importlib
import logging
import re
import shutil
import warnings as python_warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
import mobilesam.compat
from mobilesam.predict.load import load

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
# What carries examples; a name that is not here is not run, so a test below looks for more.
EXAMPLES = (
    "compat.generator",
    "compat.predictor",
    "everything.folder",
    "everything.generate",
    "everything.results",
    "everything.settings",
    "image",
    "interchange.coco",
    "interchange.labelme",
    "interchange.svg",
    "predict.embedding",
    "predict.load",
    "predict.predictor",
    "predict.results",
)
MAIN: tuple[str, ...] = (
    "load",
    "Predictor.embed",
    "ImageEmbedding.predict",
    "ImageEmbedding.predict_batch",
    "segment_everything",
)
MAIN += ("segment_folder", "Mask.rle", "Mask.polygons", "Mask.cutout", "Mask.to_coco", "Mask.save", "to_coco")


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once() -> Iterator[None]:
    """Opening a model takes longer than most examples; predictors have no state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mobilesam.predict.load.load", functools.wraps(load)(functools.cache(load)))
        yield


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the examples find by these names, as docs/reference/predict.md says."""
    page = (REFERENCE / "predict.md").read_text(encoding="utf-8")
    made: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(block, made)
    return {name: made[name] for name in ("mobilesam", "sam", "image", "mask")} | {
        "np": np,
        "photo": made["image"].photo,
    }


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_of_docstrings_do_what_they_say(
    module: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").mkdir()
    for photo in ("coffee.png", "chelsea.png"):
        shutil.copy(ROOT / "examples" / photo, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(importlib.import_module(f"mobilesam.{module}"), globs=names):
        runner.run(test, out=said.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(said)


def test_no_example_is_left_out_and_the_main_functions_have_one() -> None:
    package = ROOT / "src" / "mobilesam"
    with_some = [
        path for path in package.rglob("*.py") if re.search(r"^ +>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert {str(path.relative_to(package))[:-3].replace("/", ".").replace("\\", ".") for path in with_some} == set(
        EXAMPLES
    )
    for name in MAIN:
        found: Any = mobilesam
        for part in name.split("."):
            found = getattr(found, part)
        assert ">>> " in (found.__doc__ or ""), name


def test_the_reference_has_every_public_name() -> None:
    written = {
        found
        for page in REFERENCE.glob("*.md")
        for found in re.findall(r"^::: ([\w.]+)", page.read_text("utf-8"), re.M)
    }
    wanted = {f"mobilesam.{name}" for name in mobilesam.__all__ if not name.startswith("_")}
    wanted |= {
        f"mobilesam.compat.{name}"
        for name in mobilesam.compat.__all__
        if isinstance(getattr(mobilesam.compat, name), type)
    }
    assert wanted <= written, sorted(wanted - written)


class Fetched(HTMLParser):
    """Collects what a browser fetches by itself while it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        fetched = given.get("src") or (given.get("href") if tag == "link" and given.get("rel") != "canonical" else None)
        if fetched:
            self.addresses.append(fetched)


class Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The built site, and the warnings while it was built; a strict build fails on any."""
    pytest.importorskip("mkdocs", reason="the site needs the extra docs")
    pytest.importorskip("material", reason="the site needs the extra docs")
    pytest.importorskip("mkdocstrings", reason="the site needs the extra docs")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder, warnings = tmp_path_factory.mktemp("site"), Warnings()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(warnings)
    try:
        with python_warnings.catch_warnings():  # of mkdocs and its plugins on new versions of Python
            python_warnings.simplefilter("ignore")
            build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    finally:
        logger.removeHandler(warnings)
    return folder, warnings.said


def test_it_builds_without_a_warning(built: tuple[Path, list[str]]) -> None:
    assert built[1] == []


def test_nothing_on_it_comes_from_another_host(built: tuple[Path, list[str]]) -> None:
    pages = list(built[0].rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        found = Fetched()
        found.feed(page.read_text(encoding="utf-8"))
        assert found.addresses
        assert not [one for one in found.addresses if re.match(r"(\w+:)?//", one)], page
    for sheet in built[0].rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_the_command_line_reference_has_every_command(built: tuple[Path, list[str]]) -> None:
    page = (built[0] / "reference" / "command-line.html").read_text(encoding="utf-8")
    for command in ("segment", "everything", "annotate status", "distill embed", "evaluate compare", "models", "serve"):
        assert f"mobilesam {command}" in page
    assert "--zoom" in page


def test_a_link_that_leads_nowhere_and_a_missing_docstring_are_warnings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("griffe", reason="the site needs the extra docs")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    hooks = importlib.import_module("site_hooks")
    assert hooks.undocumented(["mobilesam.Mask", "mobilesam.load"]) == []
    assert hooks.undocumented(["mobilesam.interchange.labelme.LABELME_VERSION"]) == [
        "mobilesam.interchange.labelme.LABELME_VERSION"
    ]
    text = "[a](../MODEL_CARD.md#x) [b](../examples/cpp/README.md) `[c](nowhere.md)` ![d](images/icon.svg)"
    made = hooks.resolved(text, "docs/export.md", "export.md")
    assert made == "[a](project/model-card.md#x) b (`examples/cpp/README.md`) `[c](nowhere.md)` ![d](images/icon.svg)"
    assert not caplog.records
    hooks.resolved("[c](nowhere.md)", "docs/export.md", "export.md")
    assert "docs/export.md links to nowhere.md" in caplog.text
