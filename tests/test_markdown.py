"""Markdown has one sentence per line, so that changes show which sentence changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.documents import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
END = re.compile(r"[.!?][\"'”)*_]*\s+[\"'“(\[*_]*[A-Z]")
"""The end of a sentence, and a capital after it."""


def lines_of_several_sentences(markdown: str) -> Iterator[int]:
    """Numbers of the lines of text that hold more than one sentence; code, tables and HTML are left out."""
    is_code = False
    for number, line in enumerate(markdown.splitlines(), 1):
        text = line.lstrip()
        is_code ^= text.startswith("```")
        if is_code or line.startswith("    ") or text.startswith(("|", "<")):
            continue
        text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "X", text))
        text = re.sub(r"^(?:[-*]|\d+\.)\s+", "", text)  # "1. First", an item of a list
        if END.search(text):
            yield number


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_line_of_a_document_is_at_most_one_sentence(page: Path) -> None:
    assert not list(lines_of_several_sentences(page.read_text("utf-8")))


def test_lines_of_several_sentences_are_found() -> None:
    assert len(PAGES) > 20
    found = "One. Two.\n- One. `two` is.\nSee [this](a.md). **Then** go\nReally? (Yes.)\nHe said 'no.' Then he left.\n"
    assert list(lines_of_several_sentences(found)) == [1, 2, 3, 4, 5]
    fine = "One, e.g. two, of 1.5 MB.\n1. First\n| a. B | C |\n```sh\ncd x. Y\n```\n    a. B\n<p>A. B</p>\n`a. B` c\n"
    assert not list(lines_of_several_sentences(fine))
