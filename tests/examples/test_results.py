"""The examples that join mobilesam to other programs: words to masks, and masks to inpainting."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import mobilesam

EXAMPLES = Path(__file__).parents[2] / "examples"
SPOON = (326, 229, 406, 326)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photo() -> Image.Image:
    return Image.open(EXAMPLES / "coffee.png").convert("RGB")


def test_words_become_masks_of_the_detectors_boxes(photo: Image.Image) -> None:
    asked = []

    def detect(picture: Image.Image, words: str) -> list[tuple[tuple[float, ...], str]]:
        asked.append((picture.size, words))
        return [(SPOON, "a spoon"), ((-4.0, 10.0, 604.0, 390.0), "a cup")]

    found = example("text_prompt").segment_words(photo, "a cup. a spoon.", detect)
    assert asked == [((600, 400), "a cup. a spoon.")]
    assert [name for name, _ in found] == ["a spoon", "a cup"]
    boxes = [SPOON, (0, 10, 600, 390)]
    expected = mobilesam.load(quick_start=True).embed(photo).predict_batch(boxes=boxes)
    assert [mask for _, mask in found] == [one.best for one in expected]


def test_a_detector_that_finds_nothing_gives_no_masks(photo: Image.Image) -> None:
    assert example("text_prompt").segment_words(photo, "a dog.", lambda *_: []) == []


def test_an_object_is_removed_and_nothing_else_changes(photo: Image.Image, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "inpaint.py"), str(EXAMPLES / "coffee.png"), "326,229,406,326"]
    done = subprocess.run([*command, str(tmp_path / "out.png")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = np.asarray(photo).astype(int), np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    mask = mobilesam.load(quick_start=True).embed(photo).predict(box=SPOON).best
    changed = np.abs(before - after).max(axis=2) > 0
    assert not changed[mask.for_inpainting(grow=8, feather=4) == 0].any()
    assert changed[mask.array].mean() > 0.95
    # The spoon glitters; what is painted over it is smooth.
    inside = mask.array[:, 1:]
    steps = [np.abs(np.diff(picture, axis=1)).max(axis=2)[inside].mean() for picture in (before, after)]
    assert steps[1] < 0.4 * steps[0]
