"""SAM's own API over ours, so that code written for SAM or MobileSAM runs unchanged.

    from mobilesam.compat import SamPredictor, sam_model_registry

    sam = sam_model_registry["vit_t"](checkpoint="mobile_sam.pt")
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks, scores, logits = predictor.predict(point_coords=..., point_labels=...)

Signatures and return values follow
https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/predictor.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilesam import contract, masks
from mobilesam.errors import ModelError
from mobilesam.image import Rgb, input_size, resize_long_side, scale_points, to_input
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.prompts import Prompt
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Zoom, look_again

if TYPE_CHECKING:
    import torch

    from mobilesam.everything.candidates import FoundMask

# N prompts, P points, K masks, H W photo, L side of the logits

_MODEL_NAMES = {
    "default": "sam_vit_h",
    "vit_h": "sam_vit_h",
    "vit_l": "sam_vit_l",
    "vit_b": "sam_vit_b",
    "vit_t": "mobile_sam",
}


@dataclass(frozen=True)
class ImageEncoderInfo:
    """The one attribute of SAM's image encoder that client code reads."""

    img_size: int


class SamModel:
    """What `sam_model_registry` builds: a loaded model with the attributes client code touches.

    Args:
        source: checkpoint, folder or name.
        device: where it runs; anything but "cpu" takes the torch backend.
    """

    mask_threshold = contract.MASK_THRESHOLD
    image_format = "RGB"

    def __init__(self, source: str, device: str = "cpu") -> None:
        self.source = source
        self.device: Any = device
        self.predictor: Predictor = load(source, device=device)
        self.image_encoder = ImageEncoderInfo(self.predictor.info.image_size)

    def to(self, device: Any) -> SamModel:
        """Move to a device, in place, as torch modules do."""
        if str(device) != str(self.device):
            self.predictor = load(self.source, device=str(device))
            self.device = device
        return self

    def cuda(self) -> SamModel:
        """`to("cuda")`."""
        return self.to("cuda")

    def eval(self) -> SamModel:
        """Nothing to do: a predictor never trains."""
        return self


def _builder(kind: str) -> Callable[..., SamModel]:
    expected = _MODEL_NAMES[kind]

    def build(checkpoint: str | None = None) -> SamModel:
        """Load a checkpoint; without one, the embedded model for "vit_t" and the published one for the others."""
        source = checkpoint or ("embedded" if kind == "vit_t" else expected)
        model = SamModel(str(source))
        found = model.predictor.info.name
        if found in _MODEL_NAMES.values() and found != expected:
            right = next(key for key, name in _MODEL_NAMES.items() if name == found and key != "default")
            raise ModelError(f"'{source}' holds {found}, not {expected}; use sam_model_registry['{right}']")
        return model

    return build


sam_model_registry: dict[str, Callable[..., SamModel]] = {kind: _builder(kind) for kind in _MODEL_NAMES}


class ResizeLongestSide:
    """SAM's transform between the photo's frame and the input's."""

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) → the long side at `target_length`."""
        return resize_long_side(image, self.target_length)

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[Any]:
        """(..., 2) (x, y) of the photo → of the input."""
        hw = (int(original_size[0]), int(original_size[1]))
        return scale_points(np.asarray(coords, np.float32), hw, input_size(hw, self.target_length))

    def apply_boxes(self, boxes: NDArray[Any], original_size: tuple[int, ...]) -> NDArray[Any]:
        """(N, 4) xyxy of the photo → of the input."""
        return self.apply_coords(np.asarray(boxes).reshape(-1, 2, 2), original_size).reshape(-1, 4)

    def apply_coords_torch(self, coords: torch.Tensor, original_size: tuple[int, ...]) -> torch.Tensor:
        """`apply_coords` for tensors."""
        import torch

        return torch.from_numpy(self.apply_coords(coords.cpu().numpy(), original_size)).to(coords.device)

    def apply_boxes_torch(self, boxes: torch.Tensor, original_size: tuple[int, ...]) -> torch.Tensor:
        """`apply_boxes` for tensors."""
        return self.apply_coords_torch(boxes.reshape(-1, 2, 2), original_size).reshape(-1, 4)


class SamPredictor:
    """SAM's predictor, with its state: one image at a time. `mobilesam.Predictor` is the better one for new code.

    Args:
        sam_model: from `sam_model_registry`.
        zoom: second looks, as in `mobilesam.ImageEmbedding.predict`; "auto" is as the model has it.
    """

    def __init__(self, sam_model: SamModel, *, zoom: Zoom = "auto") -> None:
        self.model = sam_model
        self.zoom: Zoom = zoom
        self.transform = ResizeLongestSide(sam_model.image_encoder.img_size)
        self.reset_image()

    @property
    def device(self) -> Any:
        """Where the model runs."""
        return self.model.device

    def reset_image(self) -> None:
        """Forget the image."""
        self.is_image_set = False
        self.features: NDArray[np.float32] | None = None
        self._photo: Rgb | None = None
        self.original_size: tuple[int, int] = (0, 0)
        self.input_size: tuple[int, int] = (0, 0)

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode (H, W, 3) uint8 in "RGB" or "BGR" order."""
        if image_format not in ("RGB", "BGR"):
            raise AssertionError(f"image_format must be in ['RGB', 'BGR'], is {image_format}.")
        rgb = np.ascontiguousarray(image if image_format == "RGB" else image[..., ::-1])
        size = self.transform.target_length
        self.features = self.model.predictor.backend.encode(to_input(rgb, size))
        self._photo = rgb
        self.original_size = (image.shape[0], image.shape[1])
        self.input_size = input_size(self.original_size, size)
        self.is_image_set = True

    def set_torch_image(self, transformed_image: torch.Tensor, original_image_size: tuple[int, ...]) -> None:
        """Encode a (1, 3, H, W) RGB 0-255 tensor whose long side already is the model's image size.

        The photo itself is not at hand then, so there are no second looks.
        """
        self._photo = None
        self.features = self.model.predictor.backend.encode(transformed_image.float().cpu().numpy())
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
        """One prompt in the photo's pixels → masks (K, H, W), scores (K,), logits (K, L, L)."""
        self._check_image()
        coords = labels = None
        if point_coords is not None:
            assert point_labels is not None, "point_labels must be supplied if point_coords is supplied."
            coords = self.transform.apply_coords(np.asarray(point_coords), self.original_size)[None]
            labels = np.asarray(point_labels)[None]
        boxes = None if box is None else self.transform.apply_boxes(np.asarray(box), self.original_size)
        prior = None if mask_input is None else np.asarray(mask_input)[None]
        masks_, scores, low_res = self._decode(coords, labels, boxes, prior, multimask_output, return_logits)
        return masks_[0], scores[0], low_res[0]

    def predict_torch(
        self,
        point_coords: torch.Tensor | None,
        point_labels: torch.Tensor | None,
        boxes: torch.Tensor | None = None,
        mask_input: torch.Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """N prompts in the input's pixels → masks (N, K, H, W), scores (N, K), logits (N, K, L, L)."""
        import torch

        self._check_image()
        coords, labels, corners, prior = (
            None if tensor is None else tensor.cpu().numpy()
            for tensor in (point_coords, point_labels, boxes, mask_input)
        )
        answers = self._decode(coords, labels, corners, prior, multimask_output, return_logits)
        masks_, scores, low_res = (torch.from_numpy(array).to(self.device) for array in answers)
        return masks_, scores, low_res

    def get_image_embedding(self) -> torch.Tensor:
        """(1, C, g, g)"""
        import torch

        self._check_image()
        return torch.from_numpy(self.features)

    def _check_image(self) -> None:
        if not self.is_image_set:
            raise RuntimeError("An image must be set with .set_image(...) before mask prediction.")

    def _decode(
        self,
        coords: NDArray[Any] | None,
        labels: NDArray[Any] | None,
        boxes: NDArray[Any] | None,
        prior: NDArray[Any] | None,
        multimask: bool,
        return_logits: bool,
    ) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
        """N prompts in the input's pixels; SAM checks nothing here, so neither do we."""
        given = next((array for array in (coords, boxes, prior) if array is not None), None)
        count = 1 if given is None else len(given)
        coords = np.zeros((count, 0, 2)) if coords is None else coords
        labels = np.zeros((count, 0)) if labels is None else labels
        if boxes is None:  # a prompt without a box ends in a "not a point" token
            corners, codes = np.zeros((count, 1, 2)), np.full((count, 1), contract.LABEL_PADDING)
        else:
            corners = np.asarray(boxes).reshape(count, 2, 2)
            codes = np.tile([contract.LABEL_BOX_TOP_LEFT, contract.LABEL_BOX_BOTTOM_RIGHT], (count, 1))
        backend = self.model.predictor.backend
        side = backend.info.low_res
        assert self.features is not None
        all_coords = np.concatenate([coords, corners], axis=1).astype(np.float32)
        all_labels = np.concatenate([labels, codes], axis=1).astype(np.float32)
        low_res, scores = backend.decode(
            self.features,
            all_coords,
            all_labels,
            np.zeros((1, 1, side, side), np.float32) if prior is None else prior.astype(np.float32),
            np.full(1 if prior is None else count, float(prior is not None), np.float32),
        )
        kept = slice(1, 4) if multimask else slice(0, 1)
        low_res, scores = low_res[:, kept], scores[:, kept]
        found = self._look_again(all_coords, all_labels, low_res, scores, has_prior=prior is not None)
        full = np.asarray([[one.logits(i) for i in range(len(one))] for one in found])
        scores = np.stack([one.scores for one in found])
        return (full if return_logits else masks.threshold(full)), scores, low_res

    def _look_again(
        self,
        coords: NDArray[np.float32],
        labels: NDArray[np.float32],
        low_res: NDArray[np.float32],
        scores: NDArray[np.float32],
        *,
        has_prior: bool,
    ) -> list[Prediction]:
        """The answers to N prompts in the input's pixels, with second looks where they are wished for."""
        size, hw = self.transform.target_length, self.original_size
        in_photo = scale_points(coords, self.input_size, hw)
        prompts = [Prompt(xy, codes, False) for xy, codes in zip(in_photo, labels, strict=True)]
        first = [
            Prediction(logits, score, size, self.input_size, hw) for logits, score in zip(low_res, scores, strict=True)
        ]
        backend = self.model.predictor.backend
        # After `set_torch_image` there is no photo, and nothing that a user of SAM's API could do about that.
        zoom = False if self._photo is None and self.zoom == "auto" else self.zoom
        return look_again(backend, self._photo, prompts, first, zoom, has_prior=has_prior)


class SamAutomaticMaskGenerator:
    """SAM's generator of all masks. Arguments, defaults and records are SAM's; `segment_everything` does the work."""

    def __init__(
        self,
        model: SamModel,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[NDArray[Any]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
    ) -> None:
        from mobilesam.everything.settings import EverythingSettings

        assert (points_per_side is None) != (point_grids is None), (
            "Exactly one of points_per_side or point_grid must be provided."
        )
        assert output_mode in ("binary_mask", "uncompressed_rle", "coco_rle"), f"Unknown output_mode {output_mode}."
        self.model = model
        self.output_mode = output_mode
        self.point_grids = point_grids
        self.settings = EverythingSettings(
            points_per_side=points_per_side or 1,
            points_per_batch=points_per_batch,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
            crop_n_layers=crop_n_layers,
            crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            min_mask_region_area=min_mask_region_area,
        )

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """(H, W, 3) RGB uint8 → one record per mask, best first."""
        from mobilesam.everything.generate import segment_everything

        found = segment_everything(self.model.predictor, image, settings=self.settings, point_grids=self.point_grids)
        return [{**mask.to_dict(), "segmentation": self._segmentation(mask)} for mask in found]

    def _segmentation(self, mask: FoundMask) -> Any:
        if self.output_mode == "binary_mask":
            return mask.array
        return mask.rle if self.output_mode == "coco_rle" else masks.to_uncompressed_rle(mask.array)
