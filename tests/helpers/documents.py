"""The code blocks of a Markdown document, and how its commands are run and parsed.

`<!-- not run: REASON -->` above a block says that it is only parsed, on the first line of a document that all of its
blocks are. Blocks without a fence are parsed only, too.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any
from unittest import mock

import click
import typer.main

from mobilesam.cli import main, make_app

ROOT = Path(__file__).parents[2]
MARK = r"<!-- not run: (?P<reason>[^\n]+?) -->\n"
FENCED = rf"(?:^{MARK})?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
INDENTED = r"(?<=\n\n)(?P<indented>(?: {4}[^\n]*\n|\n(?= {4}))+)"
BLOCK = re.compile(f"{FENCED}|{INDENTED}", re.DOTALL | re.MULTILINE)
SHELL = {"mobilesam", "pip", "python", "python3", "curl"}
SETTING_UP = {"pip", "python3", "git", "cd"}  # not run where a block is: the environment is there already


@dataclass(frozen=True)
class Block:
    """A code block of a document."""

    line: int
    language: str
    text: str
    reason: str | None
    """Why it is not run; None if it is."""


def blocks(markdown: str, *, all_marked: bool = False) -> list[Block]:
    """The code blocks of a document in order; an indented one is a shell's if it begins with a command."""
    marked = re.match(MARK, markdown)
    whole = marked["reason"] if marked else "not of docs/" if all_marked else None
    found = []
    for match in BLOCK.finditer(markdown):
        line = markdown.count("\n", 0, match.start()) + 1
        if match["indented"] is None:
            found.append(Block(line, match["language"], match["text"], match["reason"] or whole))
        else:
            text = re.sub(r"^ {4}", "", match["indented"], flags=re.MULTILINE)
            is_shell = re.sub(r"^([A-Z_]+=\S+ )+", "", text).split()[0] in SHELL
            found.append(Block(line, "sh" if is_shell else "text", text, whole or "an indented block"))
    return found


def commands(text: str) -> list[list[str]]:
    """The words of each command of a shell block, without comments, assignments, redirections and optional brackets."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"\[(--?\w[^\]]*)\]", r"\1", re.sub(r"(^|\s)#.*", "", line))
        for part in re.split(r"&&|\||;", line) if "'" not in line and '"' not in line else [line]:
            words = shlex.split(part, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if ">" in words:
                words = words[: words.index(">")]
            if words:
                found.append(words)
    return found


def parse(words: list[str]) -> None:
    """Let the command line's own parser read a `mobilesam` command, without doing it.

    Raises:
        click.UsageError: there is no such command or option, or a value is missing or of a wrong kind.
    """
    with mock.patch.object(click.Command, "invoke", return_value=None):
        typer.main.get_command(make_app()).main(words[1:], prog_name="mobilesam", standalone_mode=False)


def run(words: list[str]) -> int:
    """Run a `mobilesam` command in this process, patterns expanded as a shell does; returns the exit code."""
    expanded = [name for word in words for name in (sorted(glob(word)) if "*" in word else []) or [word]]
    with mock.patch.object(sys, "argv", expanded):
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


def run_page(page: Path, folder: Path, *, everything: bool = False) -> None:
    """Run the blocks of a page in order, as a reader would, in a folder that has the example photos.

    Args:
        page: the document.
        folder: where to be; the working folder is left changed.
        everything: also the `mobilesam` commands of marked blocks, unless the mark says that they need something.

    Raises:
        AssertionError: a command failed.
    """
    photos = folder / "examples"
    photos.mkdir(exist_ok=True)
    for name in ("coffee.png", "chelsea.png"):
        shutil.copy(ROOT / "examples" / name, photos)
    os.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.language == "python" and block.reason is None:
            exec(compile(block.text, where, "exec", dont_inherit=True), names)
        elif block.language == "sh" and (block.reason is None or (everything and "needs your" not in block.reason)):
            for words in commands(block.text):
                if words[0] == "mobilesam":
                    code = run(words)
                    assert code == 0, f"{where}: {shlex.join(words)} ended with {code}"
                else:
                    assert words[0] in SETTING_UP or block.reason, f"{where}: {words[0]} is not run; mark the block"
