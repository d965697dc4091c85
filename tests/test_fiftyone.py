"""The FiftyOne model, against a stand-in of the classes that FiftyOne documents, and against FiftyOne where it is."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam.compat.fiftyone import FiftyOneModel, fiftyone_model
from mobilesam.errors import MissingExtraError, PromptError

FEW = mobilesam.EverythingSettings(points_per_side=4)
CUP = (326, 229, 406, 326)


@dataclass
class Detection:
    """As `fiftyone.Detection`: box [left, top, width, height] as shares of the photo, mask inside of the box."""

    label: str | None = None
    bounding_box: list[float] = field(default_factory=list)
    mask: Any = None
    confidence: float | None = None


@dataclass
class Detections:
    detections: list[Detection]


@dataclass
class Keypoint:
    points: list[tuple[float, float]]
    label: str | None = None


@dataclass
class Keypoints:
    keypoints: list[Keypoint]


class Model:
    """As `fiftyone.core.models.Model`: `apply_model` refuses what is not derived from it."""

    def __enter__(self) -> Model:
        raise AssertionError("ours comes first")

    @property
    def media_type(self) -> str:
        raise NotImplementedError

    @property
    def ragged_batches(self) -> bool:
        raise NotImplementedError


class SamplesMixin:
    """As `fiftyone.core.models.SamplesMixin`: `apply_model` sets `needs_fields`."""

    @property
    def needs_fields(self) -> dict[str, str]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def fiftyone(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stand_in, core, models = (ModuleType(name) for name in ("fiftyone", "fiftyone.core", "fiftyone.core.models"))
    stand_in.Detection, stand_in.Detections = Detection, Detections  # type: ignore[attr-defined]
    models.Model, models.SamplesMixin = Model, SamplesMixin  # type: ignore[attr-defined]
    for module in (stand_in, core, models):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return stand_in


def whole(one: Detection, hw: tuple[int, int]) -> np.ndarray:
    """The mask at the photo's size, by the box and the mask inside of it."""
    left, top = round(one.bounding_box[0] * hw[1]), round(one.bounding_box[1] * hw[0])
    height, width = one.mask.shape
    assert (round(one.bounding_box[2] * hw[1]), round(one.bounding_box[3] * hw[0])) == (width, height)
    found = np.zeros(hw, bool)
    found[top : top + height, left : left + width] = one.mask
    return found


def test_without_prompts_all_masks_become_detections(embedded: mobilesam.Predictor, coffee: Any) -> None:
    rgb = np.asarray(Image.open(coffee).convert("RGB"))
    found = FiftyOneModel(embedded, settings=FEW).predict(rgb).detections
    expected = mobilesam.segment_everything(embedded, rgb, settings=FEW)
    assert len(found) == len(expected) > 1
    for one, mask in zip(found, expected, strict=True):
        np.testing.assert_array_equal(whole(one, (400, 600)), mask.array)
        assert (one.label, one.confidence) == ("object", mask.score)


def test_boxes_of_a_field_are_prompts_and_keep_their_labels(embedded: mobilesam.Predictor, coffee: Any) -> None:
    rgb = np.asarray(Image.open(coffee).convert("RGB"))
    x0, y0, x1, y1 = CUP
    boxes = [
        Detection("spoon", [x0 / 600, y0 / 400, (x1 - x0) / 600, (y1 - y0) / 400]),
        Detection("nothing", [0.5, 0.5, 0.0, 0.1]),
        Detection(None, [-0.1, 0.1, 0.9, 2.0]),  # reaches beyond the photo
    ]
    model = fiftyone_model(embedded)
    assert issubclass(type(model), Model)
    assert issubclass(type(model), SamplesMixin)
    model.needs_fields = {"prompt_field": "boxes"}
    with model:
        assert (model.media_type, model.ragged_batches, model.has_logits) == ("image", True, False)
        (found,) = model.predict_all([rgb], samples=[{"boxes": Detections(boxes)}])
    assert [one.label for one in found.detections] == ["spoon", "object"]
    image = embedded.embed(rgb)
    np.testing.assert_array_equal(
        whole(found.detections[0], (400, 600)), image.predict_batch(boxes=[CUP])[0].best.array
    )


def test_keypoints_are_prompts_and_hidden_ones_are_left_out(embedded: mobilesam.Predictor, coffee: Any) -> None:
    rgb = np.asarray(Image.open(coffee).convert("RGB"))
    nan = float("nan")
    keypoints = Keypoints([Keypoint([(0.5, 0.45), (nan, nan)], "cup"), Keypoint([(nan, nan)], "hidden")])
    model = FiftyOneModel(embedded)
    model.needs_fields = {"prompt_field": "points"}
    (one,) = model.predict(rgb, sample={"points": keypoints}).detections
    best = embedded.embed(rgb).predict(points=[(300, 180)]).best
    np.testing.assert_array_equal(whole(one, (400, 600)), best.array)
    assert one.label == "cup"


def test_samples_without_prompts_have_no_masks_and_other_fields_are_named(embedded: mobilesam.Predictor) -> None:
    model = FiftyOneModel(embedded, settings=FEW)
    model.needs_fields = {"prompt_field": "boxes"}
    rgb = np.zeros((30, 40, 3), np.uint8)
    for empty in (None, Detections([]), Keypoints([])):
        assert model.predict(rgb, sample={"boxes": empty}).detections == []
    with pytest.raises(PromptError, match="'boxes' must hold Detections or Keypoints, not str"):
        model.predict(rgb, sample={"boxes": "cat"})
    assert len(model.predict_all([rgb, rgb])) == 2


@pytest.mark.skipif(find_spec("fiftyone") is not None, reason="FiftyOne is installed")
def test_without_fiftyone_it_says_what_to_install(
    embedded: mobilesam.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(MissingExtraError, match="pip install fiftyone"):
        fiftyone_model(embedded)
