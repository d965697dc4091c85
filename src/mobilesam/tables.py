"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; cells are written as `str` gives them."""
    lines = (header, ["---"] * len(header), *rows)
    return ["| " + " | ".join(str(cell) for cell in cells) + " |" for cells in lines]
