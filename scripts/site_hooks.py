"""What the site of documents needs beyond mkdocs: the repository's own documents, and the command line's reference.

mkdocs loads this file (mkdocs.yml). Links are written for the repository, where GitHub and editors follow them; here
they become links between pages, and those to files that are no page become plain text. One that leads nowhere is a
warning, which fails a strict build.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
from pathlib import Path
from typing import Any

import click
import typer.main

ROOT = Path(__file__).parents[1]
PROJECT = {
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "MODEL_CARD.md": "project/model-card.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
}
"""Documents outside of docs/ → the page that each becomes."""
PAGES = {**PROJECT, "README.md": "index.md"}
COMMANDS = "<!-- the commands -->"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# Fenced blocks, then indented ones after an empty line, then code in a line: no links in them.
CODE = re.compile(r"(^```(?:.|\n)*?^```$|(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+|`[^`\n]+`)", re.MULTILINE)

log = logging.getLogger("mkdocs.site_hooks")


def on_files(files: Any, config: Any) -> Any:
    """Add the documents that lie outside of docs/."""
    from mkdocs.structure.files import File

    for source, page in PROJECT.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_pre_build(config: Any) -> None:
    """Warn of each public name of the reference without a docstring."""
    for name in undocumented(documented(Path(config.docs_dir) / "reference")):
        log.warning("%s has no docstring", name)


def documented(folder: Path) -> list[str]:
    """The names that the reference documents."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))]
    return [name for page in pages for name in re.findall(r"^::: ([\w.]+)", page, re.MULTILINE)]


def undocumented(names: list[str]) -> list[str]:
    """Those of the names, and of the public members of classes among them, that have no docstring.

    What a plain class keeps in attributes is its own business; a dataclass shows its fields.
    """
    import griffe

    package = griffe.load("mobilesam", search_paths=[ROOT / "src"], resolve_aliases=True)
    missing = []
    for name in names:
        found = package[name.removeprefix("mobilesam.")]
        inner = found.members.values() if found.is_class else ()
        if "dataclass" not in found.labels:
            inner = [each for each in inner if not each.is_attribute or "property" in each.labels]
        missing += [each.path for each in (found, *inner) if not each.name.startswith("_") and not each.has_docstring]
    return missing


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of the repository into those of the site; write the reference of the command line."""
    uri: str = page.file.src_uri
    source = next((name for name, made in PROJECT.items() if made == uri), f"docs/{uri}")
    text = resolved(markdown, source, uri)
    return text.replace(COMMANDS, command_reference()) if COMMANDS in text else text


def resolved(markdown: str, source: str, uri: str) -> str:
    """Markdown with the links of `source`, a path of the repository, written for the page `uri`."""
    parts = CODE.split(markdown)
    for i in range(0, len(parts), 2):  # the odd ones are code
        parts[i] = LINK.sub(lambda found: new_link(found, source, uri), parts[i])
    return "".join(parts)


def new_link(found: re.Match[str], source: str, uri: str) -> str:
    mark, text, target = found.groups()
    if "://" in target or target.startswith(("#", "mailto:")):
        return found[0]
    path, _, anchor = target.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if path in PAGES:
        there = PAGES[path]
    elif path.startswith("docs/") and (ROOT / path).is_file():
        there = path.removeprefix("docs/")
    elif (ROOT / path).exists():
        return text if text == path or f"`{path}`" in text else f"{text} (`{path}`)"
    else:
        log.warning("%s links to %s, which does not exist", source, target)
        return found[0]
    relative = posixpath.relpath(there, posixpath.dirname(uri) or ".")
    return f"{mark}[{text}]({relative}{'#' + anchor if anchor else ''})"


def command_reference() -> str:
    """A section for each command: what it does, its arguments and its options, as `--help` says them."""
    from mobilesam.cli import make_app

    root = typer.main.get_command(make_app())
    return "\n".join(sections(root, "mobilesam", []))


def sections(command: click.Command, name: str, written: list[str]) -> list[str]:
    if isinstance(command, click.Group):
        for verb, inner in command.commands.items():
            sections(inner, f"{name} {verb}", written)
        return written
    with click.Context(command, info_name=name) as context:
        written += [f"## {name}", "", inline(command.help or ""), "", "```text", command.get_usage(context), "```", ""]
        rows = [found for each in command.get_params(context) if (found := row(each, context))]
    written += [*rows, ""]
    return written


def row(parameter: click.Parameter, context: click.Context) -> str | None:
    record = parameter.get_help_record(context)
    if record is None or parameter.name == "help":
        return None
    name, text = record
    return f"- `{name}`<br>{inline(text)}"


def inline(text: str) -> str:
    """A help text as Markdown: paragraphs stay, and nothing in it is markup."""
    return re.sub(r"([<*_])", r"\\\1", re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())).replace(os.linesep * 3, "\n\n")
