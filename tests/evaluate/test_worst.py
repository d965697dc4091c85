from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mobilesam.data.photo import PhotoId
from mobilesam.evaluate import worst
from mobilesam.evaluate.photo import load_models
from mobilesam.evaluate.run import run
from mobilesam.evaluate.settings import EvaluateSettings


def test_the_worst_of_two_data_sets_that_share_names_are_drawn_from_their_own_photos(
    settings: EvaluateSettings, twins: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = replace(settings, data=tuple(map(str, twins)), protocols=("box",))
    models = load_models(both)
    results, _ = run(both, tmp_path / "j", models=models)
    rows = [row for result in results for row in result.rows]
    drawn = []
    draw = worst.draw
    monkeypatch.setattr(
        worst, "draw", lambda rgb, answer, truth, row: drawn.append(row) or draw(rgb, answer, truth, row)
    )
    files = worst.save_worst(rows, both, models, tmp_path / "w", len(rows))
    assert [path.name for path in files] == [f"box_{i:02}.png" for i in range(1, 13)]
    assert all(path.is_file() for path in files)
    assert sorted(row.iou for row in drawn) == sorted(row.iou for row in rows)
    assert {row.photo for row in drawn} == {
        PhotoId(f"{d}/s.tar", f"photo_{i:02}") for d in ("one", "two") for i in range(3)
    }
