"""The FiftyOne model with FiftyOne's own classes; `apply_model` on a data set would need its data base.

Run in an environment that has FiftyOne: `python -m pytest -m interop tests/interop/test_fiftyone.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.compat.fiftyone import fiftyone_model

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

COFFEE = Path(__file__).parents[2] / "examples" / "coffee.png"


def test_fiftyone_takes_the_model_and_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIFTYONE_DO_NOT_TRACK", "1")
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://127.0.0.1:1")  # not needed; do not start one
    fiftyone = pytest.importorskip("fiftyone")
    from fiftyone.core.models import Model, SamplesMixin

    settings = mobilesam.EverythingSettings(points_per_side=6)
    model = fiftyone_model(mobilesam.load(backend="onnx"), settings=settings)
    assert isinstance(model, Model)  # what `apply_model` asks for
    assert isinstance(model, SamplesMixin)
    sample = fiftyone.Sample(filepath=str(COFFEE))
    box = fiftyone.Detection(label="cup", bounding_box=[0.2, 0.15, 0.53, 0.58])
    sample["boxes"] = fiftyone.Detections(detections=[box])
    rgb = np.asarray(Image.open(COFFEE).convert("RGB"))
    model.needs_fields = {"prompt_field": "boxes"}
    with model:
        found, everything = model.predict(rgb, sample=sample), model.predict_all([rgb])[0]
    sample.add_labels(found, "masks")
    sample.add_labels(everything, "all", confidence_thresh=0.5)
    assert sample["masks"].detections[0].label == "cup"
    assert len(sample["all"].detections) > 1
    whole = sample["masks"].to_segmentation(frame_size=(600, 400)).mask > 0
    left, top = 0.2 * 600, 0.15 * 400
    best = mobilesam.load(backend="onnx").embed(rgb).predict(box=(left, top, left + 318, top + 232)).best.array
    assert (whole & best).sum() / (whole | best).sum() > 0.99
