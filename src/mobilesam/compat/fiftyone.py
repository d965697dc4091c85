"""A FiftyOne model: finds masks for the samples of a FiftyOne data set.

    import fiftyone as fo
    import mobilesam
    from mobilesam.compat.fiftyone import fiftyone_model

    model = fiftyone_model(mobilesam.load())
    dataset.apply_model(model, label_field="masks")                            # all masks
    dataset.apply_model(model, label_field="masks", prompt_field="detections")  # a mask for each box or keypoint

`FiftyOneModel` has the methods of `fiftyone.core.models.Model` and `SamplesMixin` but imports FiftyOne only to make
labels; `fiftyone_model` also derives it from those classes, which `apply_model` asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mobilesam.errors import MissingExtraError, PromptError
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.settings import EverythingSettings
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.results import Mask
from mobilesam.predict.zoom import Zoom

PROMPTS = "prompt_field"
"""Argument of `apply_model` that names the field with boxes or keypoints."""


class FiftyOneModel:
    """The methods that FiftyOne calls on a model of images.

    Args:
        predictor: the model.
        label: class of masks that come from no prompt, or from one without a label.
        settings: of the search for all masks; None for the defaults.
        zoom: whether small prompts get a second look, as in `mobilesam.ImageEmbedding.predict`.
    """

    media_type = "image"
    has_logits = False
    has_embeddings = False
    can_embed_prompts = False
    ragged_batches = True  # photos of any sizes
    transforms = None
    preprocess = False  # a photo is opened and resized by the predictor

    def __init__(
        self,
        predictor: Predictor,
        *,
        label: str = "object",
        settings: EverythingSettings | None = None,
        zoom: Zoom = "auto",
    ) -> None:
        self.predictor, self.label, self.settings, self.zoom = predictor, label, settings, zoom
        self.needs_fields: dict[str, str] = {}
        """Set by `apply_model`: {"prompt_field": name of the field}."""

    def __enter__(self) -> FiftyOneModel:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def predict(self, arg: Any, sample: Any = None) -> Any:
        """Find the masks of one photo.

        Args:
            arg: (H, W, 3) uint8, or whatever `Predictor.embed` takes.
            sample: the FiftyOne sample, whose field of prompts is used where `needs_fields` names one.

        Returns:
            `fiftyone.Detections`: a tight box, its mask, the model's own score and a label for each; with prompts in
            their order, leaving out those without an area.

        Raises:
            PromptError: the field holds neither detections nor keypoints.
            MissingExtraError: FiftyOne is not installed.
        """
        field = self.needs_fields.get(PROMPTS) if sample is not None else None
        if field is None:
            found = segment_everything(self.predictor, arg, settings=self.settings)
            return self._labels([(mask, self.label) for mask in found])
        prompts = sample[field]
        if prompts is None:  # a sample without any
            return self._labels([])
        image = self.predictor.embed(arg)
        if (boxes := getattr(prompts, "detections", None)) is not None:
            return self._labels(self._from_boxes(image, boxes))
        if (keypoints := getattr(prompts, "keypoints", None)) is not None:
            return self._labels(self._from_keypoints(image, keypoints))
        raise PromptError(f"the field '{field}' must hold Detections or Keypoints, not {type(prompts).__name__}")

    def predict_all(self, args: Iterable[Any], samples: Iterable[Any] | None = None) -> list[Any]:
        """`predict` for several photos."""
        if samples is None:
            return [self.predict(arg) for arg in args]
        return [self.predict(arg, sample) for arg, sample in zip(args, samples, strict=True)]

    def _from_boxes(self, image: ImageEmbedding, boxes: Sequence[Any]) -> list[tuple[Mask, str]]:
        """Masks for detections, whose boxes are [left, top, width, height] as shares of the photo's sides."""
        height, width = image.original_hw
        shares = np.array([box.bounding_box for box in boxes], np.float64).reshape(-1, 4)
        corners = np.concatenate([shares[:, :2], shares[:, :2] + shares[:, 2:]], axis=1)  # (N, 4)
        corners = np.clip(corners, 0, 1) * (width, height, width, height)
        kept = ((corners[:, 2:] - corners[:, :2]) >= 1).all(axis=1)
        if not kept.any():
            return []
        found = image.predict_batch(boxes=corners[kept], zoom=self.zoom)
        names = [box.label or self.label for box, is_kept in zip(boxes, kept, strict=True) if is_kept]
        return [(one.best, name) for one, name in zip(found, names, strict=True)]

    def _from_keypoints(self, image: ImageEmbedding, keypoints: Sequence[Any]) -> list[tuple[Mask, str]]:
        """Masks for keypoints: all points of one lie on one object; points that are not visible are NaN."""
        height, width = image.original_hw
        found = []
        for one in keypoints:
            points = np.array(one.points, np.float64).reshape(-1, 2) * (width, height)
            points = points[np.isfinite(points).all(axis=1)]
            if len(points):
                found.append((image.predict(points=points, zoom=self.zoom).best, one.label or self.label))
        return found

    def _labels(self, found: Sequence[tuple[Mask, str]]) -> Any:
        """FiftyOne's labels of masks; empty masks are left out."""
        fiftyone = _fiftyone()
        detections = []
        for mask, label in found:
            x0, y0, x1, y1 = mask.box_xyxy
            if x1 == x0:
                continue
            height, width = mask.original_hw
            box = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
            inside = mask.array[y0:y1, x0:x1]
            detections.append(
                fiftyone.Detection(label=label, bounding_box=box, mask=inside, confidence=float(mask.score))
            )
        return fiftyone.Detections(detections=detections)


def fiftyone_model(predictor: Predictor, **options: Any) -> Any:
    """Make a model that `apply_model` of FiftyOne accepts; the options are those of `FiftyOneModel`.

    Raises:
        MissingExtraError: FiftyOne is not installed.
    """
    _fiftyone()
    from fiftyone.core.models import Model, SamplesMixin

    kind = type("MobileSamModel", (FiftyOneModel, SamplesMixin, Model), {"needs_fields": None})
    return kind(predictor, **options)


def _fiftyone() -> Any:
    try:
        import fiftyone
    except ImportError as error:
        raise MissingExtraError("fiftyone", "a FiftyOne model", command="pip install fiftyone") from error
    return fiftyone
