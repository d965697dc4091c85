"""SAM's model registry, and a loaded model with the attributes and methods of `Sam` that inference code uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilesam import contract, masks
from mobilesam.errors import ImageError, MobileSamError, ModelError
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.weights import EMBEDDED

if TYPE_CHECKING:
    import torch

# B photos, N prompts, K masks, H W photo, L side of the logits, S side of the square that the network sees

_MODEL_NAMES = {
    "default": "sam_vit_h",
    "vit_h": "sam_vit_h",
    "vit_l": "sam_vit_l",
    "vit_b": "sam_vit_b",
    "vit_t": "mobile_sam",
    "embedded": EMBEDDED,
}

Array = TypeVar("Array", "torch.Tensor", NDArray[Any])


class NotCoveredError(MobileSamError, AttributeError):
    """Raised for a part of SAM's API that `mobilesam.compat` does not cover."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"mobilesam.compat does not cover {what}. Covered are SamPredictor, SamAutomaticMaskGenerator, "
            "sam(batched_input, multimask_output), preprocess, postprocess_masks, image_encoder, device, "
            "mask_threshold and image_format. For the torch network itself: mobilesam.model.checkpoint.load(PATH); "
            "to train it: mobilesam train"
        )


@dataclass(frozen=True)
class ImageEncoder:
    """SAM's image encoder: callable, with the attribute `img_size`."""

    predictor: Predictor

    @property
    def img_size(self) -> int:
        """Side S of the square input, in pixels."""
        return self.predictor.info.image_size

    def __call__(self, x: Array) -> Array:
        """Encode (B, 3, S, S) from `SamModel.preprocess` into (B, C, g, g)."""
        # Our encoders normalise and pad inside, so normalisation is undone here. Padding with zeros becomes the mean
        # colour, which normalises to zeros again.
        pixels = _to_numpy(x) * PIXEL_STD + PIXEL_MEAN
        return _like(self.predictor.backend.encode(np.ascontiguousarray(pixels, np.float32)), x)


@dataclass(frozen=True)
class PromptEncoder:
    """The sizes that inference code reads from SAM's prompt encoder; calling it raises an error."""

    embed_dim: int
    image_embedding_size: tuple[int, int]
    input_image_size: tuple[int, int]

    @property
    def mask_input_size(self) -> tuple[int, int]:
        """Size (L, L) of a mask prompt."""
        return 4 * self.image_embedding_size[0], 4 * self.image_embedding_size[1]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise `NotCoveredError`."""
        raise NotCoveredError("prompt_encoder(...)")

    def __getattr__(self, name: str) -> Any:
        raise NotCoveredError(f"prompt_encoder.{name}")


PIXEL_MEAN, PIXEL_STD = (np.array(v, np.float32).reshape(3, 1, 1) for v in (contract.PIXEL_MEAN, contract.PIXEL_STD))


class SamModel:
    """A loaded model as `sam_model_registry` builds it, with the parts of SAM's `Sam` that inference code uses.

    Args:
        source: checkpoint, folder or name of a model.
        device: the device to run on; any other than "cpu" selects the torch backend.
        image_size: side in pixels of the square input, as in `mobilesam.load`; None for the model's default.
    """

    mask_threshold = contract.MASK_THRESHOLD
    image_format = "RGB"
    pixel_mean, pixel_std = PIXEL_MEAN, PIXEL_STD

    def __init__(self, source: str, device: str = "cpu", *, image_size: int | None = None) -> None:
        self.source = source
        self._image_size = image_size
        self._load(device)

    def _load(self, device: Any) -> None:
        # First, because it may fail: the model then stays as it was, on its old device.
        self.predictor: Predictor = load(self.source, device=str(device), image_size=self._image_size)
        self.device: Any = device
        info = self.predictor.info
        self.image_encoder = ImageEncoder(self.predictor)
        self.prompt_encoder = PromptEncoder(info.embed_dim, (info.grid, info.grid), (info.image_size, info.image_size))

    def to(self, device: Any) -> SamModel:
        """Move to a device, in place, as torch modules do."""
        if str(device) != str(self.device):
            self._load(device)
        return self

    def cuda(self) -> SamModel:
        """`to("cuda")`."""
        return self.to("cuda")

    def cpu(self) -> SamModel:
        """`to("cpu")`."""
        return self.to("cpu")

    def eval(self) -> SamModel:
        """Do nothing and return the model, which is always in inference mode."""
        return self

    def preprocess(self, x: Array) -> Array:
        """Normalise pixels and pad to the square input, as SAM does.

        Args:
            x: (..., 3, H, W) RGB 0-255, with the long side of length `image_encoder.img_size`, as from
                `ResizeLongestSide`; a tensor or an array.

        Returns:
            (..., 3, S, S), a tensor or an array like `x`: the input of `image_encoder`.
        """
        pixels = (_to_numpy(x).astype(np.float32) - PIXEL_MEAN) / PIXEL_STD
        height, width = pixels.shape[-2:]
        size = self.image_encoder.img_size
        if max(height, width) > size:
            raise ModelError(
                f"the image is {width}x{height}, the model sees {size}x{size}; ResizeLongestSide comes first"
            )
        edges = [(0, 0)] * (pixels.ndim - 2) + [(0, size - height), (0, size - width)]
        return _like(np.pad(pixels, edges), x)

    def postprocess_masks(self, masks_: Array, input_size: tuple[int, ...], original_size: tuple[int, ...]) -> Array:
        """Upscale logits (N, K, L, L) to (N, K, H, W) at the photo's size, without applying `mask_threshold`."""
        low_res = _to_numpy(masks_).astype(np.float32)
        input_hw, hw = ((int(size[0]), int(size[1])) for size in (input_size, original_size))
        side = self.image_encoder.img_size
        full = [masks.upscale(one, side, input_hw, hw) for one in low_res.reshape(-1, *low_res.shape[-2:])]
        return _like(np.stack(full).reshape(*low_res.shape[:-2], *hw), masks_)

    def __call__(
        self, batched_input: Sequence[dict[str, Any]], multimask_output: bool = False
    ) -> list[dict[str, torch.Tensor]]:
        """SAM's `forward`: segment a batch of photos with their prompts, in pixels of the resized photos.

        Args:
            batched_input: per photo "image" (3, H, W), "original_size", and some of "point_coords", "point_labels",
                "boxes" and "mask_inputs"; tensors.
            multimask_output: three masks per prompt, or one.

        Returns:
            Per photo "masks" (N, K, H, W), "iou_predictions" (N, K) and "low_res_logits" (N, K, L, L).

        Raises:
            ImageError: a photo is missing, or has another shape.
            PromptError: as of `SamPredictor.predict_torch`.
        """
        from mobilesam.compat.predictor import SamPredictor

        answers = []
        for one in batched_input:
            if not isinstance(one, dict) or not {"image", "original_size"} <= one.keys():
                raise ImageError('each photo of a batch is a dict with "image" (3, H, W) and "original_size"')
            predictor = SamPredictor(self)
            predictor.set_torch_image(one["image"][None], one["original_size"])
            coords, labels = one.get("point_coords"), one.get("point_labels")
            found, scores, low_res = predictor.predict_torch(
                coords, labels, one.get("boxes"), one.get("mask_inputs"), multimask_output
            )
            answers.append({"masks": found, "iou_predictions": scores, "low_res_logits": low_res})
        return answers

    def __getattr__(self, name: str) -> Any:
        raise NotCoveredError(f"sam.{name}")


def _to_numpy(x: torch.Tensor | NDArray[Any]) -> NDArray[Any]:
    return x if isinstance(x, np.ndarray) else x.detach().cpu().numpy()


def _like(array: NDArray[np.float32], given: Array) -> Array:
    """Convert an array to the type of `given`: an array, or a tensor on the same device."""
    if isinstance(given, np.ndarray):
        return array
    return sys.modules["torch"].from_numpy(array).to(given.device)


def _builder(kind: str) -> Callable[..., SamModel]:
    expected = _MODEL_NAMES[kind]
    default = EMBEDDED if kind == "vit_t" else expected

    def build(checkpoint: str | None = None, *, image_size: int | None = None) -> SamModel:
        """Load a checkpoint; without one, "vit_t" loads the embedded model, and other keys the model of that name."""
        model = SamModel(str(checkpoint or default), image_size=image_size)
        found = model.predictor.info.name
        if found in _MODEL_NAMES.values() and found not in (expected, default):
            right = next(key for key, name in _MODEL_NAMES.items() if name == found and key != "default")
            raise ModelError(f"'{model.source}' holds {found}, not {expected}; use sam_model_registry['{right}']")
        return model

    return build


sam_model_registry: dict[str, Callable[..., SamModel]] = {kind: _builder(kind) for kind in _MODEL_NAMES}
"""SAM's keys, MobileSAM's "vit_t", and "embedded", which needs no checkpoint."""
