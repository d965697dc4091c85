"""SAM's `SamAutomaticMaskGenerator`, implemented by `segment_everything`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilesam import masks
from mobilesam.compat.model import SamModel
from mobilesam.compat.predictor import SamPredictor

if TYPE_CHECKING:
    from mobilesam.everything.results import FoundMask


class SamAutomaticMaskGenerator:
    """SAM's automatic mask generator, with SAM's arguments, defaults and records.

    If `pred_iou_thresh` or `stability_score_thresh` is None, it depends on the model: SAM's 0.88 and 0.95, or 0.4 and
    0.7 for the embedded model, whose scores are lower.

    Examples:
        >>> from mobilesam.compat import SamAutomaticMaskGenerator, sam_model_registry
        >>> generator = SamAutomaticMaskGenerator(sam_model_registry["embedded"](), points_per_side=4)
        >>> records = generator.generate(photo)  # (H, W, 3) RGB
        >>> sorted(records[0])[:3]
        ['area', 'bbox', 'crop_box']
    """

    def __init__(
        self,
        model: SamModel,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
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
        self.predictor = SamPredictor(model)
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
        """Find all masks of an (H, W, 3) RGB uint8 image: one record per mask, highest score first."""
        from mobilesam.everything.generate import segment_everything

        found = segment_everything(self.model.predictor, image, settings=self.settings, point_grids=self.point_grids)
        return [{**mask.to_sa1b(), "segmentation": self._segmentation(mask)} for mask in found]

    def _segmentation(self, mask: FoundMask) -> Any:
        if self.output_mode == "binary_mask":
            return mask.array
        return mask.rle() if self.output_mode == "coco_rle" else masks.to_uncompressed_rle(mask.array)
