"""Settings of automatic mask generation: those of SAM under the same names, and a few more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from mobilesam.choices import DenseWhere
from mobilesam.predict.backend import ModelInfo
from mobilesam.settings import Count, CountOrZero, PositiveOrZero, Probability, Range, Settings

# (pred_iou_thresh, stability_score_thresh) by model. A small model's scores are lower, so SAM's thresholds would drop
# most of its masks. These keep 86 % of the recall with an eighth of the masks, on training photos:
# benchmarks/thresholds.py, docs/results/everything.md.
_THRESHOLDS = {"embedded": (0.4, 0.7)}


@dataclass(frozen=True, kw_only=True)
class EverythingSettings(Settings):
    """Settings of automatic mask generation; defaults are SAM's, and None means a value that suits the model.

    Examples:
        >>> mobilesam.EverythingSettings(points_per_side=16, coarse_factor=2).points_per_side
        16
    """

    points_per_side: Annotated[int, Range(low=1, high=1024)] = 32
    """Number of grid points along each side of a crop."""
    points_per_batch: Count | None = None
    """Number of prompts decoded in one call; more are faster and need more memory; None: suits the model."""
    pred_iou_thresh: Annotated[float, Range(low=-1, high=1)] | None = None
    """Masks whose predicted IoU is not above this are dropped; predictions may be slightly below 0, so -1 keeps all.
    None: suits the model."""
    stability_score_thresh: Probability | None = None
    """Masks with a lower stability score are dropped; None: suits the model."""
    stability_score_offset: PositiveOrZero = 1.0
    """Distance in logits of the two thresholds, above and below the usual one, that define the stability score."""
    box_nms_thresh: PositiveOrZero = 0.7
    """NMS within a crop: of two masks whose boxes have a higher IoU, the higher-scored is kept; 1 keeps all."""
    crop_n_layers: Annotated[int, Range(low=0, high=8)] = 0
    """Also search 4 crops, then 16, and so on: layer i has 2^i along each side."""
    crop_nms_thresh: PositiveOrZero = 0.7
    """NMS between crops: as `box_nms_thresh`, but the mask of the smaller crop is kept."""
    crop_overlap_ratio: Annotated[float, Range(low=0, below=1)] = 512 / 1500
    """Overlap of the crops of the first layer, as a fraction of the photo's short side."""
    crop_n_points_downscale_factor: Count = 1
    """The grid of layer i has points_per_side / factor^i points along a side."""
    min_mask_region_area: CountOrZero = 0
    """Holes and islands smaller than this many pixels are removed; 0 leaves masks as they are."""
    coarse_factor: Count = 1
    """If above 1: use a grid this many times coarser first, and then the points of the full grid that `dense_where`
    selects (hierarchical search, as in TinySAM, arXiv 2312.13789, section 3.3)."""
    dense_where: DenseWhere = "small"
    """Points of the full grid to use after a coarse one: "small", around coarse points with a small mask, since small
    objects often stand together; or "uncovered", where the coarse grid found no mask (TinySAM's rule)."""
    small_share: Probability = 0.05
    """A mask that covers a smaller fraction of its crop counts as small for `dense_where`."""
    refine: bool = False
    """Prompt again at the innermost pixel of each mask found, which is a better prompt than a grid point."""

    def needs(self, name: str) -> str | None:
        """What a setting lacks to have an effect; `compat` and Python may set it all the same, as SAM's callers do."""
        if name in ("dense_where", "small_share") and self.coarse_factor == 1:
            return "a coarse_factor above 1"
        if name == "small_share" and self.dense_where != "small":
            return 'dense_where = "small"'
        if (
            name in ("crop_nms_thresh", "crop_overlap_ratio", "crop_n_points_downscale_factor")
            and not self.crop_n_layers
        ):
            return "crop_n_layers above 0"
        return None

    def for_model(self, info: ModelInfo) -> EverythingSettings:
        """The same settings, with each None replaced by the value that suits a model."""
        iou, stability = _THRESHOLDS.get(info.name, (0.88, 0.95))
        return replace(
            self,
            points_per_batch=self.points_per_batch or info.prompts_per_call,
            pred_iou_thresh=iou if self.pred_iou_thresh is None else self.pred_iou_thresh,
            stability_score_thresh=stability if self.stability_score_thresh is None else self.stability_score_thresh,
        )
