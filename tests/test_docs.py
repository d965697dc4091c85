"""Every code block of the documents runs, or, where a mark above it says why not, is at least what it claims to be."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from mobilesam.cli import make_app
from mobilesam.predict.load import load
from tests.helpers.documents import ROOT, Block, blocks, commands, parse, run_page
from tests.helpers.pictures import FILES, TARGET, as_saved, difference, files_of, side_by_side

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "MODEL_CARD.md", "SECURITY.md", "README.md")]
OTHERS.append(ROOT / "benchmarks" / "README.md")
# In the order people meet them; each has a picture.
TASKS = (
    "first-cut-out",
    "many-photos",
    "boxes",
    "correct",
    "everything",
    "track",
    "page",
    "service",
    "mcp",
    "results-in-tools",
    "weights",
    "fine-tune",
    "distillation",
    "evaluate",
    "phone",
    "scale",
    "examples",
)
BESIDE = ("segment", "everything", "evaluate")  # they replace files of their own in a folder with those of others
MOST_CHANGED = 0.005  # of a picture: what other processors and runtimes round otherwise is less
LANGUAGES = ("js", "json", "python", "sh", "text", "toml", "xml")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runs(page: Path) -> bool:
    return any(block.reason is None and block.language in ("python", "sh") for block in blocks(page.read_text("utf-8")))


def test_blocks_are_found_with_their_marks_and_languages() -> None:
    text = "# A\n\n```python\n1\n```\n\n<!-- not run: needs a GPU -->\n```sh\nmobilesam page\n```\n\n"
    text += "    pip x\n\n    y\n\nz\n"
    python, shell, indented = blocks(text)
    assert (python.language, python.text, python.reason, python.line) == ("python", "1\n", None, 3)
    assert (shell.language, shell.reason) == ("sh", "needs a GPU")
    assert (indented.language, indented.text) == ("sh", "pip x\n\ny\n")
    assert {block.reason for block in blocks("<!-- not run: slow -->\n\n" + text)} == {"slow", "needs a GPU"}


def test_commands_are_split_as_a_shell_does() -> None:
    text = "A=b mobilesam page -o 'x y' \\\n  --webgpu  # why\npip install x && mobilesam models > y\n"
    text += "mobilesam page [--json]"
    assert commands(text) == [
        ["mobilesam", "page", "-o", "x y", "--webgpu"],
        ["pip", "install", "x"],
        ["mobilesam", "models"],
        ["mobilesam", "page", "--json"],
    ]


@pytest.mark.parametrize(
    "wrong", ["mobilesam sgment x", "mobilesam segment x --bocks 1", "mobilesam export x --format y"]
)
def test_a_wrong_command_is_noticed(wrong: str) -> None:
    import click

    with pytest.raises(click.UsageError):
        parse(wrong.split())


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once() -> Iterator[None]:
    """Opening a model takes longer than most of what the pages do with it; predictors have no state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mobilesam.predict.load.load", functools.cache(load))
        yield


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=name_of)
def test_its_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # left as it was afterwards
    run_page(page, tmp_path)
    if page.parent == DOCS and page.stem in FILES:  # its picture shows what its commands make now
        drawn = side_by_side(files_of(tmp_path, FILES[page.stem]))
        with Image.open(TARGET / f"{page.stem}.webp") as picture:
            assert difference(picture, as_saved(drawn)) < MOST_CHANGED, (
                f"run scripts/draw_documents.py {page.stem}, and look at it"
            )


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_its_blocks_are_what_they_claim_to_be(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), all_marked=page in OTHERS):
        assert block.language in LANGUAGES, f"{name_of(page)}:{block.line} names no language of {LANGUAGES}"
        check(block, f"{name_of(page)}:{block.line}")


def check(block: Block, where: str) -> None:
    """Compile or parse a block by its language; JavaScript must be marked: it runs in tests/web/test_service.py."""
    try:
        if block.language == "python":
            ast.parse(block.text, where)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "xml":
            ElementTree.fromstring(block.text)
        elif block.language == "js":
            assert block.reason, "JavaScript is not run here; mark it"
        elif block.language == "sh":
            for words in commands(block.text):
                if words[0] == "mobilesam":
                    parse(words)
    except Exception as error:
        raise AssertionError(f"{where}: {error}") from error


def writes(block: Block) -> Iterator[tuple[str, str]]:
    """The files and folders that a block writes, and by what: nothing replaces what was written by other means."""
    if block.language == "python":
        for saved, written in re.findall(r'\.save\("([^"]+)"|Path\("([^"]+)"\)\.write_', block.text):
            yield saved or written, "python"
    for words in commands(block.text) if block.language == "sh" else ():
        verb = words[1] if words[0] == "mobilesam" and len(words) > 1 else words[0]
        for option, name in itertools.pairwise(words):
            if option in ("-o", "--output") and name != "DIR":
                yield name.rstrip("/"), "mobilesam" if verb in BESIDE else verb


def test_no_document_writes_over_the_files_of_another_by_other_means() -> None:
    means: dict[str, dict[str, str]] = {}
    for page in [ROOT / "README.md", *PAGES]:
        for block in blocks(page.read_text(encoding="utf-8")):
            for name, by in writes(block):
                means.setdefault(name, {}).setdefault(by, f"{name_of(page)}:{block.line}")
    assert means["cup.png"].keys() == {"mobilesam"}
    assert means["coffee.embedding"].keys() == {"python"}
    assert {name: places for name, places in means.items() if len(places) > 1} == {}


def test_verbs_named_in_the_text_exist() -> None:
    import typer.main

    verbs = typer.main.get_command(make_app()).commands  # type: ignore[attr-defined]
    for page in [*PAGES, *OTHERS]:
        for verb in re.findall(r"`mobilesam ([a-z]\w*)", page.read_text(encoding="utf-8")):
            assert verb in verbs, f"{name_of(page)}: mobilesam {verb}"


def test_each_task_has_a_small_picture_and_its_place_in_the_order() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    places = [nav.index(f": {task}.md") for task in TASKS]
    assert places == sorted(places)
    for task in TASKS:
        pictures = re.findall(r"!\[[^\]]+\]\((images/[^)]+)\)", (DOCS / f"{task}.md").read_text(encoding="utf-8"))
        assert pictures, task
        assert all((DOCS / picture).stat().st_size < 100_000 for picture in pictures), task


def test_no_two_pages_say_the_same_sentence() -> None:
    seen: dict[str, str] = {}
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for line in text.splitlines():
            sentence = line.strip(" -")
            if len(sentence) < 60 or line.startswith(("    ", "|", "<!--", "![")):
                continue
            assert seen.setdefault(sentence, name_of(page)) == name_of(page), f"{name_of(page)}: {sentence}"
