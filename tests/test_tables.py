from __future__ import annotations

from mobilesam.tables import table


def test_a_table_has_a_header_a_line_and_a_line_per_row() -> None:
    assert table(["a", "b"], [[1, "x"], ["", 2.5]]) == ["| a | b |", "| --- | --- |", "| 1 | x |", "|  | 2.5 |"]
    assert table(["a"], []) == ["| a |", "| --- |"]
