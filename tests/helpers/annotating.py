"""Small runs on the embedded model at its smallest size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.annotate.job import AnnotateJob, ModelChoice
from mobilesam.annotate.plan import make_plan
from mobilesam.annotate.settings import AnnotateSettings
from tests.helpers.scenes import draw_scene

CHOICE = ModelChoice(model="embedded", backend="onnx", image_size=256)


@pytest.fixture(scope="session")
def small() -> mobilesam.Predictor:
    return mobilesam.load(backend="onnx", image_size=256)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos, two of them in a subfolder."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "c.png", "sub/a.png", "sub/d.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_scene(rng)[0]).save(path)
    return folder


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    """Two boxes for each photo by its name, as a detector would write them."""
    names = ("a.png", "b.jpg", "c.png", "sub/a.png", "sub/d.jpg")
    boxes = ([10, 20, 50, 60], [50, 10, 40, 70])
    records = [
        {"file_name": name, "bbox": box, "category_id": 3 + i, "score": 0.5 + i / 4}
        for name in names
        for i, box in enumerate(boxes)
    ]
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(records))
    return path


def plan(photos: Path, output: Path, small: mobilesam.Predictor, prompts: Path | None, **settings: Any) -> AnnotateJob:
    """A run of two photos a shard."""
    asked = AnnotateSettings(prompts="given" if prompts else "everything", **{"shard_photos": 2, **settings})
    return make_plan([str(photos)], output, small, CHOICE, asked, prompts=prompts)
