"""SAM's `SamPredictor`, implemented by a backend of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilesam import masks
from mobilesam.compat.checks import as_features, as_prompt, check_image, check_labels
from mobilesam.compat.model import SamModel
from mobilesam.compat.transforms import ResizeLongestSide
from mobilesam.errors import ImageError, PromptError
from mobilesam.extras import is_installed
from mobilesam.image import Rgb, input_size, scale_points, to_input
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.prompts import Prompt
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Zoom

if TYPE_CHECKING:
    import torch

# N prompts, P points, K masks, H W photo, L side of the logits

Answer = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Logits at the photo's size or masks, scores, and logits."""


class SamPredictor:
    """SAM's predictor, which holds one image at a time; new code should use `mobilesam.Predictor`.

    Args:
        sam_model: a model from `sam_model_registry`.
        zoom: whether to encode the prompt's region again, as in `mobilesam.ImageEmbedding.predict`.

    Examples:
        >>> from mobilesam.compat import SamPredictor, sam_model_registry
        >>> predictor = SamPredictor(sam_model_registry["embedded"]())
        >>> predictor.set_image(photo)  # (H, W, 3) RGB
        >>> masks, scores, logits = predictor.predict(box=np.array([170, 15, 410, 310]), multimask_output=False)
        >>> masks.shape
        (1, 400, 600)
    """

    _features: NDArray[np.float32] | None
    _photo: Rgb | None

    def __init__(self, sam_model: SamModel, *, zoom: Zoom = "auto") -> None:
        self.model = sam_model
        self.zoom: Zoom = zoom
        self.transform = ResizeLongestSide(sam_model.image_encoder.img_size)
        self.reset_image()

    @property
    def device(self) -> Any:
        """Device of the model."""
        return self.model.device

    @property
    def features(self) -> Any:
        """Embedding of the image, (1, C, g, g), or None before there is one.

        A torch tensor, as in SAM, where torch is installed; otherwise a numpy array. It shares its memory with the
        embedding that is used.

        It can be set, to an array or a tensor of that shape, as scripts do that keep embeddings; `original_size`,
        `input_size` and `is_image_set` are then set too. Second looks need the photo, so there are none afterwards.

        Raises:
            ImageError: it is set to anything else.
        """
        if self._features is None or not is_installed("torch"):
            return self._features
        import torch

        return torch.from_numpy(self._features)

    @features.setter
    def features(self, value: Any) -> None:
        info = self.model.predictor.backend.info
        self._features = None if value is None else as_features(value, (1, info.embed_dim, info.grid, info.grid))
        self._photo = None

    def reset_image(self) -> None:
        """Forget the image."""
        self.is_image_set = False
        self._features = None
        self._photo = None
        self.original_size: tuple[int, int] = (0, 0)
        self.input_size: tuple[int, int] = (0, 0)

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode an image (H, W, 3) uint8 in "RGB" or "BGR" order.

        Raises:
            ImageError: anything else, such as a PIL image or grey, RGBA or float arrays, where SAM fails as well.
        """
        if image_format not in ("RGB", "BGR"):
            raise AssertionError(f"image_format must be in ['RGB', 'BGR'], is {image_format}.")
        check_image(image)
        rgb = np.ascontiguousarray(image if image_format == "RGB" else image[..., ::-1])
        size = self.transform.target_length
        self._features = self.model.predictor.backend.encode(to_input(rgb, size))
        self._photo = rgb
        self.original_size = (image.shape[0], image.shape[1])
        self.input_size = input_size(self.original_size, size)
        self.is_image_set = True

    def set_torch_image(self, transformed_image: torch.Tensor, original_image_size: tuple[int, ...]) -> None:
        """Encode a (1, 3, H, W) RGB 0-255 tensor whose long side already has the model's image size.

        The photo at its own resolution is not available then, so zoom "auto" is off.

        Raises:
            ImageError: it has another shape, which SAM refuses too.
        """
        size, shape = self.transform.target_length, tuple(transformed_image.shape)
        if len(shape) != 4 or shape[:2] != (1, 3) or max(shape[2:]) != size:
            raise ImageError(f"the image must be (1, 3, H, W) with the longer side {size}, as SAM's too; found {shape}")
        self._photo = None
        self._features = self.model.predictor.backend.encode(transformed_image.float().cpu().numpy())
        self.original_size = (int(original_image_size[0]), int(original_image_size[1]))
        self.input_size = (int(transformed_image.shape[-2]), int(transformed_image.shape[-1]))
        self.is_image_set = True

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: NDArray[Any] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """Segment with one prompt in pixels of the photo: masks (K, H, W), scores (K,), logits (K, L, L).

        Raises:
            PromptError: more than one box, which SAM refuses too, another shape, or numbers that are not finite.
        """
        self._check_image()
        if box is not None and np.size(box) != 4:
            raise PromptError(
                f"predict takes one box of 4 numbers, found {np.size(box)} numbers; predict_torch takes several boxes"
            )
        coords = as_prompt(point_coords, "point_coords", (None, 2))
        labels = as_prompt(point_labels, "point_labels", (None,))
        boxes = None if box is None else as_prompt(np.reshape(box, (1, 4)), "box", (1, 4))
        prior = as_prompt(mask_input, "mask_input", (1, None, None))
        assert coords is None or labels is not None, "point_labels must be supplied if point_coords is supplied."
        coords, labels = (None if coords is None or one is None else one[None] for one in (coords, labels))  # (1, P, 2)
        prior = None if prior is None else prior[None]  # (1, 1, L, L)
        found = self.answers(coords, labels, boxes, prior, multimask_output)
        full, scores, low_res = self.arrays(found, multimask_output)
        return (full if return_logits else masks.threshold(full))[0], scores[0], low_res[0]

    def predict_torch(
        self,
        point_coords: torch.Tensor | None,
        point_labels: torch.Tensor | None,
        boxes: torch.Tensor | None = None,
        mask_input: torch.Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Segment with N prompts in pixels of the resized photo.

        Args:
            point_coords: (N, P, 2) (x, y).
            point_labels: (N, P) 1 for the object, 0 for background, -1 for no point.
            boxes: (N, 4) xyxy.
            mask_input: logits (N, 1, L, L) of earlier answers.
            multimask_output: three masks per prompt, or one.
            return_logits: logits in place of masks.

        Returns:
            Masks (N, K, H, W), scores (N, K), logits (N, K, L, L).

        Raises:
            PromptError: another shape, or numbers that are not finite.
        """
        import torch

        self._check_image()
        coords = as_prompt(point_coords, "point_coords", (None, None, 2))
        labels = as_prompt(point_labels, "point_labels", (None, None))
        corners = as_prompt(boxes, "boxes", (None, 4))
        prior = as_prompt(mask_input, "mask_input", (None, 1, None, None))
        coords, corners = self._in_photo(coords), self._in_photo(corners)
        found = self.answers(coords, labels, corners, prior, multimask_output)
        full, *others = self.arrays(found, multimask_output)
        arrays = (full if return_logits else masks.threshold(full), *others)
        masks_, scores, low_res = (torch.from_numpy(array).to(self.device) for array in arrays)
        return masks_, scores, low_res

    def get_image_embedding(self) -> torch.Tensor:
        """Embedding of the image, (1, C, g, g)."""
        import torch

        self._check_image()
        assert self._features is not None
        return torch.from_numpy(self._features)

    def _check_image(self) -> None:
        if not self.is_image_set or self._features is None:
            raise RuntimeError("An image must be set with .set_image(...) before mask prediction.")
        for name, size in (("original_size", self.original_size), ("input_size", self.input_size)):
            if len(size) != 2 or min(size) < 1:
                raise PromptError(f"{name} must be the height and width that belong to the features; it is {size}")
        # Scripts that restore an embedding set them to what their file format gives, such as a list.
        self.original_size = (int(self.original_size[0]), int(self.original_size[1]))
        self.input_size = (int(self.input_size[0]), int(self.input_size[1]))

    def _in_photo(self, positions: NDArray[Any] | None) -> NDArray[Any] | None:
        """Convert points or boxes (N, ...) from pixels of the resized photo to pixels of the photo."""
        if positions is None:
            return None
        points = positions.reshape(-1, 2).astype(np.float32)
        return scale_points(points, self.input_size, self.original_size).reshape(positions.shape)

    def answers(
        self,
        points: NDArray[Any] | None,
        labels: NDArray[Any] | None,
        boxes: NDArray[Any] | None,
        priors: NDArray[Any] | None,
        multimask: bool,
    ) -> list[Prediction]:
        """Predictions for N prompts in pixels of the photo; not a part of SAM's API.

        Args:
            points: (N, P, 2).
            labels: (N, P).
            boxes: (N, 4) xyxy.
            priors: (N, 1, L, L).
            multimask: three masks per prompt, or one.

        Raises:
            PromptError: the arrays are for different numbers of prompts, or a label has no meaning.
        """
        counts = {len(array) for array in (points, labels, boxes, priors) if array is not None}
        if len(counts) > 1:
            raise PromptError(
                f"points, labels, boxes and masks must be for as many prompts each; found {sorted(counts)}"
            )
        check_labels(labels)
        count = counts.pop() if counts else 1
        points = np.zeros((count, 0, 2)) if points is None else points
        labels = np.zeros((count, 0)) if labels is None else labels
        if points.shape[:2] != labels.shape:
            raise PromptError(f"each point needs a label; found {points.shape[1]} points and {labels.shape[1]} labels")
        corners = [None] * count if boxes is None else list(boxes)
        prompts = [Prompt.of(xy, codes, box) for xy, codes, box in zip(points, labels, corners, strict=True)]
        # After `set_torch_image` there is no photo, which users of SAM's API cannot change, so they get no warning; and
        # masks are what `postprocess_masks` makes of the logits, as users of tensors expect.
        zoom = False if self._photo is None and self.zoom == "auto" else self.zoom
        assert self._features is not None
        backend, has_photo = self.model.predictor.backend, self._photo is not None
        image = ImageEmbedding(backend, self._features, self.original_size, self.input_size, self._photo)
        logits = None if priors is None else priors.astype(np.float32)
        return image.answer(prompts, [multimask] * count, logits, zoom, encloses=has_photo)

    def arrays(self, found: Sequence[Prediction], multimask: bool) -> Answer:
        """Logits at the photo's size (N, K, H, W), scores (N, K), logits (N, K, L, L); not a part of SAM's API."""
        num_masks, side = 3 if multimask else 1, self.model.predictor.info.low_res
        full = np.zeros((len(found), num_masks, *self.original_size), np.float32)
        scores = np.zeros((len(found), num_masks), np.float32)
        low_res = np.zeros((len(found), num_masks, side, side), np.float32)
        for row, one in enumerate(found):
            scores[row], low_res[row] = one.scores, one.low_res
            for index in range(num_masks):
                full[row, index] = one.logits(index)
        return full, scores, low_res
