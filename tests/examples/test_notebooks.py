"""The notebooks run, and what is committed of their outputs is small and what they give."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbclient and ipykernel are not installed")
pytest.importorskip("nbclient", reason="nbclient and ipykernel are not installed")
pytest.importorskip("ipykernel", reason="nbclient and ipykernel are not installed")

ROOT = Path(__file__).parents[2]
NAMES = ("segment", "everything", "fine_tune")
NEEDS = {"segment": "anywidget", "fine_tune": "lightning"}
MOST_BYTES = 150_000
PLACES = re.compile(r"/(work|root|home|tmp|Users)/|0x[0-9a-f]{8}")
"""What names the machine that ran a notebook, or one run of it."""


def script() -> Any:
    """scripts/run_notebooks.py, which is no package."""
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "scripts" / "run_notebooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kinds(notebook: Any) -> list[list[str]]:
    """For each cell, the kinds of its outputs."""
    return [
        [f"{one.output_type} {sorted(one.get('data', {}))}" for one in cell.get("outputs", [])]
        for cell in notebook.cells
    ]


def first_numbers(notebook: Any) -> list[list[str]]:
    """The numbers in the first line of each text; those inside of long words, such as run lengths, are left out."""
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    texts = [one.get("text", "") + one.get("data", {}).get("text/plain", "") for one in outputs]
    firsts = [re.sub(r"\S{30,}", "", text.partition("\n")[0]) for text in texts]
    return [re.findall(r"\d+(?:\.\d+)?", first) for first in firsts]


def is_near(a: str, b: str) -> bool:
    """Whether two numbers differ by no more than processors do: a pixel or a mask here or there, or 0.03 of a score."""
    most = 0.03 if "." in a else max(2.0, 0.02 * float(a))
    return abs(float(a) - float(b)) <= most


def said(notebook: Any) -> str:
    """All text of a notebook's outputs."""
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    return "\n".join(one.get("text", "") + one.get("data", {}).get("text/plain", "") for one in outputs)


def test_prints_that_a_kernel_cut_are_one_output() -> None:
    new = nbformat.v4.new_output
    cut = [new("stream", text="a\n"), new("stream", text="b\n"), new("display_data"), new("stream", text="c\n")]
    assert [one.get("text") for one in script().joined(cut)] == ["a\nb\n", None, "c\n"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_gives_what_is_committed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name}.ipynb needs {NEEDS[name]}")
    if name == "fine_tune" and not os.environ.get("MOBILESAM_NOTEBOOKS"):
        pytest.skip("takes twenty seconds, as its steps are those of test_scripts.py; MOBILESAM_NOTEBOOKS=1 runs it")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    shutil.copy(ROOT / "examples" / "coffee.png", tmp_path)
    module = script()
    path = module.FOLDER / f"{name}.ipynb"
    done = module.run(path, tmp_path)
    committed = nbformat.read(path, as_version=4)
    assert kinds(done) == kinds(committed), "run scripts/run_notebooks.py"
    if name != "fine_tune":  # what four steps of training give differs more
        for found, expected in zip(first_numbers(done), first_numbers(committed), strict=True):
            assert len(found) == len(expected), (found, expected)
            assert all(map(is_near, expected, found)), f"{found}, not {expected}: run scripts/run_notebooks.py"
    if name == "fine_tune":
        before, after = (float(found) for found in re.findall(r"IoU ([\d.]+)", said(done)))
        assert after > before
    if name == "segment":
        assert "[Mask(600x400" in said(done)  # the widget's masks


def test_the_notebooks_are_small_and_name_no_machine() -> None:
    module = script()
    assert {path.stem for path in module.notebooks()} == set(NAMES)
    for path in module.notebooks():
        notebook = nbformat.read(path, as_version=4)
        assert path.stat().st_size < MOST_BYTES
        assert any(any(outputs) for outputs in kinds(notebook)), f"{path.name} has no outputs"
        assert not PLACES.search(said(notebook))
        assert "stderr" not in path.read_text(encoding="utf-8")
