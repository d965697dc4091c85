"""The widget's script as one module: the page's own modules with it, since a notebook serves no files beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

IMPORT = re.compile(r'^(import\b[^;"]*?from )"(\.[^"]+)";$', re.MULTILINE)
LOADER = """\
// The modules in the order in which they need each other, each as an address of its own.
const sources = %s;
const addresses = [];
for (const source of sources) {
  const text = source.replace(/"module:(\\d+)"/g, (_, i) => JSON.stringify(addresses[i]));
  addresses.push(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}
const { default: widget } = await import(addresses.at(-1));
export default widget;
"""


def bundle(entry: Path) -> str:
    """One module that does what a module does with all that it imports by relative paths.

    Args:
        entry: the module; its default export is exported.
    """
    order: list[Path] = []
    _visit(entry.resolve(), order)
    texts = [_with_numbers(path, order) for path in order]
    return LOADER % json.dumps(texts)


def _visit(path: Path, order: list[Path]) -> None:
    """Append a module after those that it imports; the page's modules import each other in no circle."""
    if path in order:
        return
    for _, name in IMPORT.findall(path.read_text(encoding="utf-8")):
        _visit((path.parent / name).resolve(), order)
    order.append(path)


def _with_numbers(path: Path, order: list[Path]) -> str:
    """A module's text, whose imports name the modules by their place in the order."""

    def numbered(found: re.Match[str]) -> str:
        return f'{found[1]}"module:{order.index((path.parent / found[2]).resolve())}";'

    return IMPORT.sub(numbered, path.read_text(encoding="utf-8"))
