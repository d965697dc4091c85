"""The code on the pages about weights and other tools runs; what needs another library is at least valid Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mobilesam.weights import MODELS, pair_folder
from tests.helpers.hub_server import Hub, hub_server

ROOT = Path(__file__).parents[1]
PAGES = ("weights.md", "results-in-tools.md")
BLOCK = re.compile(r"<!-- (run|needs \w+) -->\n```python\n(.*?)```", re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """What each block of code needs, and its code."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = BLOCK.findall(text)
    assert len(found) == text.count("```python")  # each says whether it is run
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub | None]:
    """A folder with what the pages name: the examples, a model's folder, and a repository of the Hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mobilesam.predict.load.is_installed", lambda name: False)  # onnxruntime starts faster
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    builtin = pair_folder(MODELS["embedded"])
    (tmp_path / "folder").symlink_to(builtin)
    pytest.importorskip("huggingface_hub")
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("MOBILESAM_HOME", str(tmp_path / "home"))
        files = ("encoder.onnx", "decoder.onnx", "model.json")
        server.publish("somebody/small-sam", {name: (builtin / name).read_bytes() for name in files})
        yield server


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: str, here: Hub) -> None:
    names: dict[str, Any] = {}
    for needs, code in blocks(page):
        if needs == "run":
            exec(compile(code, page, "exec"), names)
        else:
            ast.parse(code)
    if page == "results-in-tools.md":
        masks = names["segment_words"](Image.open("examples/coffee.png"), "x", lambda *_: [((326, 229, 406, 326), "a")])
        assert masks == [("a", names["spoon"])]
        assert {path.name for path in Path().glob("*.*")} >= {"cvat.xml", "outlines.xml", "tasks.json", "coffee.json"}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_of_a_page_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (ROOT / "docs" / target).exists(), target
