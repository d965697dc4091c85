"""SAM 2's image predictor on top of this package: the class, argument names and shapes of `SAM2ImagePredictor`.

    from mobilesam.compat import SAM2ImagePredictor

    predictor = SAM2ImagePredictor.from_pretrained("embedded")  # a name, a path, hf://OWNER/NAME
    predictor.set_image_batch(images)
    masks, scores, logits = predictor.predict_batch(box_batch=boxes)

It runs the models of this package, which are of SAM's first kind: no SAM 2 checkpoint is read, and there is no video.
Names and shapes follow https://github.com/facebookresearch/sam2/blob/main/sam2/sam2_image_predictor.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilesam.compat.checks import as_prompt
from mobilesam.compat.model import SamModel
from mobilesam.compat.predictor import Answer, SamPredictor
from mobilesam.errors import PromptError
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Zoom

# N prompts, P points, K masks, H W photo, L side of the logits

Images = Sequence[Any]
CLAMP = 32.0
"""SAM 2 limits the logits that it returns to -32..32."""


class SAM2ImagePredictor:
    """SAM 2's predictor for one image or a batch of images; new code should use `mobilesam.Predictor`.

    Args:
        sam_model: a model from `sam_model_registry`.
        mask_threshold: logits above it are the object.
        max_hole_area: holes of at most this many pixels of the logits are filled, in those of a second look too.
        max_sprinkle_area: pieces of at most this many pixels of the logits are removed.
        zoom: whether to encode the prompt's region again, as in `mobilesam.ImageEmbedding.predict`.
        kwargs: ignored, as SAM 2 does.
    """

    def __init__(
        self,
        sam_model: SamModel,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        *,
        zoom: Zoom = "auto",
        **kwargs: Any,
    ) -> None:
        self.model = sam_model
        self.mask_threshold = mask_threshold
        self.max_hole_area, self.max_sprinkle_area = max_hole_area, max_sprinkle_area
        self._zoom: Zoom = zoom
        self.reset_predictor()

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2ImagePredictor:
        """Load a model by its name, path or address on the Hub (`hf://OWNER/NAME`).

        Args:
            model_id: the name, path or address.
            kwargs: `device` and `image_size` as in `mobilesam.load`; the others are those of the class.

        Raises:
            ModelError: there is no such model; those of SAM 2 are not read.
            SettingsError: the model does not support the image size.
        """
        device, image_size = str(kwargs.pop("device", "cpu")), kwargs.pop("image_size", None)
        return cls(SamModel(model_id, device, image_size=image_size), **kwargs)

    @property
    def device(self) -> Any:
        """Device of the model."""
        return self.model.device

    def reset_predictor(self) -> None:
        """Forget the images."""
        self._predictors: list[SamPredictor] = []
        self._is_batch = False

    def set_image(self, image: Any) -> None:
        """Encode an image: (H, W, 3) RGB uint8, or a PIL image.

        Raises:
            ImageError: anything else.
        """
        self.reset_predictor()
        self._predictors = [self._encoded(image)]

    def set_image_batch(self, image_list: Images) -> None:
        """Encode several images of any sizes, each as for `set_image`; `predict_batch` asks them all.

        Raises:
            ImageError: one is neither.
        """
        self.reset_predictor()
        assert isinstance(image_list, list), "image_list must be a list of images, as in SAM 2"
        self._predictors = [self._encoded(image) for image in image_list]
        self._is_batch = True

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Answer:
        """Segment the image with one prompt, or with N at once.

        Args:
            point_coords: (P, 2), or (N, P, 2), pixels of the photo (x, y).
            point_labels: (P,) or (N, P): 1 object, 0 background.
            box: (4,) or (N, 4) xyxy.
            mask_input: (1, L, L) or (N, 1, L, L) logits of an earlier answer.
            multimask_output: three masks per prompt, or one.
            return_logits: logits in place of masks.
            normalize_coords: False if coordinates are shares of the photo's sides, 0-1.

        Returns:
            Masks (K, H, W), scores (K,) and logits (K, L, L); for N > 1 prompts each begins with N. Masks are float32
            with the values 0 and 1, as in SAM 2.

        Raises:
            PromptError: another shape, or numbers that are not finite.
        """
        if self._is_batch:
            raise RuntimeError("After set_image_batch use predict_batch; predict is for set_image.")
        if not self._predictors:
            raise RuntimeError("An image must be set with .set_image(...) before mask prediction.")
        prompt = (point_coords, point_labels, box, mask_input)
        return self._answer(self._predictors[0], prompt, multimask_output, return_logits, normalize_coords)

    def predict_batch(
        self,
        point_coords_batch: Sequence[NDArray[Any] | None] | None = None,
        point_labels_batch: Sequence[NDArray[Any] | None] | None = None,
        box_batch: Sequence[NDArray[Any] | None] | None = None,
        mask_input_batch: Sequence[NDArray[Any] | None] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """Segment each image of `set_image_batch` with its own prompts; every list has one entry per image.

        Returns:
            Lists of masks, scores and logits, one entry per image, each as of `predict`.

        Raises:
            PromptError: a list has another length, or a prompt is wrong.
        """
        if not self._is_batch:
            raise RuntimeError("Images must be set with .set_image_batch(...) before predict_batch.")
        count = len(self._predictors)
        given = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        names = ("point_coords_batch", "point_labels_batch", "box_batch", "mask_input_batch")
        for name, one in zip(names, given, strict=True):
            if one is not None and len(one) != count:
                raise PromptError(
                    f"{name} needs an entry for each of the {count} images, None for none; has {len(one)}"
                )
        columns = [[None] * count if one is None else list(one) for one in given]
        answers = [
            self._answer(predictor, (coords, labels, box, prior), multimask_output, return_logits, normalize_coords)
            for predictor, coords, labels, box, prior in zip(self._predictors, *columns, strict=True)
        ]
        return [one[0] for one in answers], [one[1] for one in answers], [one[2] for one in answers]

    def get_image_embedding(self) -> Any:
        """Embedding of the image, a tensor (1, C, g, g); SAM 2's further features do not exist here."""
        if len(self._predictors) != 1:
            raise RuntimeError("An image must be set with .set_image(...) to generate an embedding.")
        return self._predictors[0].get_image_embedding()

    def _encoded(self, image: Any) -> SamPredictor:
        predictor = SamPredictor(self.model, zoom=self._zoom)
        if hasattr(image, "convert"):  # a PIL image
            image = np.asarray(image.convert("RGB"))
        predictor.set_image(image)
        return predictor

    def _answer(
        self, predictor: SamPredictor, prompt: tuple[Any, Any, Any, Any], multimask: bool, logits: bool, in_pixels: bool
    ) -> Answer:
        """Masks, scores and logits for one image's prompts, without the first axis where that is 1."""
        hw = predictor.original_size
        scale = np.array((1, 1, 1, 1) if in_pixels else (hw[1], hw[0], hw[1], hw[0]), np.float32)
        coords, labels, corners, prior = _batched(*prompt)
        coords = None if coords is None else coords * scale[:2]  # (N, P, 2)
        corners = None if corners is None else corners * scale  # (N, 4)
        answers = predictor.answers(coords, labels, corners, prior, multimask)
        if self.max_hole_area or self.max_sprinkle_area:
            answers = [self._cleaned(one) for one in answers]
        full, scores, low_res = predictor.arrays(answers, multimask)
        found = full if logits else (full > self.mask_threshold).astype(np.float32)
        low_res = np.clip(low_res, -CLAMP, CLAMP)
        return (found[0], scores[0], low_res[0]) if len(found) == 1 else (found, scores, low_res)

    def _cleaned(self, found: Prediction) -> Prediction:
        """A prediction with small holes filled and small pieces removed, in the logits of both looks."""
        closeups = tuple(
            one and replace(one, low_res=self._without_small_pieces(one.low_res)) for one in found.closeups
        )
        return replace(found, low_res=self._without_small_pieces(found.low_res), closeups=closeups)

    def _without_small_pieces(self, low_res: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (..., L, L) with small holes filled and small pieces removed."""
        cleaned = low_res.copy()
        for logits in cleaned.reshape(-1, *low_res.shape[-2:]):  # views of `cleaned`
            logits[_small_pieces(logits <= self.mask_threshold, self.max_hole_area)] = self.mask_threshold + 10
            logits[_small_pieces(logits > self.mask_threshold, self.max_sprinkle_area)] = self.mask_threshold - 10
        return cleaned


def _small_pieces(mask: NDArray[np.bool_], max_area: float) -> NDArray[np.bool_]:
    """The pieces of a mask (H, W), connected at sides or corners, of at most this many pixels."""
    import cv2

    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    is_small = stats[:, cv2.CC_STAT_AREA] <= max_area  # (number of pieces,)
    is_small[0] = False  # what is outside of the mask
    return is_small[pieces]


def _batched(coords: Any, labels: Any, box: Any, prior: Any) -> tuple[Any, Any, Any, Any]:
    """A prompt's arrays with the axis of N prompts: (N, P, 2), (N, P), (N, 4), (N, 1, L, L); None stays None.

    Raises:
        PromptError: another shape, or numbers that are not finite.
    """
    if (coords is None) != (labels is None):
        raise PromptError("point_coords and point_labels are given together, or neither is")
    if coords is not None and np.ndim(coords) == 2:
        coords, labels = [coords], [labels]
    if prior is not None and np.ndim(prior) == 3:
        prior = np.asarray(prior)[None]
    return (
        as_prompt(None if coords is None else np.asarray(coords), "point_coords", (None, None, 2)),
        as_prompt(None if labels is None else np.asarray(labels), "point_labels", (None, None)),
        as_prompt(None if box is None else np.reshape(box, (-1, 4)), "box", (None, 4)),
        as_prompt(prior, "mask_input", (None, 1, None, None)),
    )
