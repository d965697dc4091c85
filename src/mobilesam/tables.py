"""Formatting tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Format a Markdown table as lines; cells are converted by `str`."""
    lines = (header, ["---"] * len(header), *rows)
    return ["| " + " | ".join(str(cell) for cell in cells) + " |" for cells in lines]
