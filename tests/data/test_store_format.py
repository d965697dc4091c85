from __future__ import annotations

import json
import zipfile
from pathlib import Path

from mobilesam.data.store_format import covered_cells
from tests.helpers.stores import write


def test_only_cells_that_the_photo_touches_are_covered() -> None:
    assert covered_cells((64, 64)) == (4, 4)
    assert covered_cells((43, 64)) == (3, 4)
    assert covered_cells((1, 64)) == (1, 4)


def test_the_header_is_readable_json(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "s.npz")) as archive:
        assert json.loads(archive.read("header.json"))["teacher"] == "t"
