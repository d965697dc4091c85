"""How a photo is searched for masks: SAM's settings under SAM's names, and a few more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from mobilesam.choices import DenseWhere
from mobilesam.predict.backend import ModelInfo
from mobilesam.recipe import Count, CountOrZero, PositiveOrZero, Probability, Range, Settings

# A small model's scores are low, so the thresholds made for SAM would leave little of its masks. These keep 86 % of the
# recall with an eighth of the masks, on training photos: benchmarks/thresholds.py, docs/results/everything.md.
_THRESHOLDS = {"embedded": (0.4, 0.7)}


@dataclass(frozen=True, kw_only=True)
class EverythingSettings(Settings):
    """Settings of the search. The defaults are those of SAM's generator, but for what is left to the model."""

    points_per_side: Annotated[int, Range(low=1, high=1024)] = 32
    """The grid has this many points along each side of a crop."""
    points_per_batch: Count | None = None
    """Prompts decoded at once; more cost memory and save time; None takes what suits the model."""
    pred_iou_thresh: Annotated[float, Range(low=-1, high=1)] | None = None
    """Masks whose predicted IoU is not above this are dropped; predictions may lie a little below 0, so -1 keeps all.
    None takes what suits the model."""
    stability_score_thresh: Probability | None = None
    """Masks less stable than this are dropped; None takes what suits the model."""
    stability_score_offset: PositiveOrZero = 1.0
    """Stability: IoU of the masks cut at this many logits above and below the threshold."""
    box_nms_thresh: PositiveOrZero = 0.7
    """Of two masks of one crop whose boxes have a higher IoU, the better-scored stays; 1 keeps all."""
    crop_n_layers: Annotated[int, Range(low=0, high=8)] = 0
    """Also search 4 crops, then 16, and so on: layer i has 2^i along each side."""
    crop_nms_thresh: PositiveOrZero = 0.7
    """As `box_nms_thresh` between masks of different crops, where the smaller crop's mask stays."""
    crop_overlap_ratio: Annotated[float, Range(low=0, below=1)] = 512 / 1500
    """Overlap of the crops of the first layer, as a fraction of the photo's short side."""
    crop_n_points_downscale_factor: Count = 1
    """The grid of layer i has points_per_side / factor^i points along a side."""
    min_mask_region_area: CountOrZero = 0
    """Holes and islands smaller than this many pixels are removed; 0 leaves masks as they are."""
    coarse_factor: Count = 1
    """Above 1, a grid this many times coarser is asked first, and the full grid only where `dense_where` says
    (a hierarchical search, as in TinySAM, arXiv 2312.13789, section 3.3)."""
    dense_where: DenseWhere = "small"
    """Where the full grid is asked after a coarse one: "small", around coarse points that found something small, since
    small things come in company; or "uncovered", where no mask of the coarse grid lies, TinySAM's rule."""
    small_share: Probability = 0.05
    """A mask that covers less of its crop is small."""
    refine: bool = False
    """Ask once more at the innermost pixel of each mask found, which is a better prompt than a grid's."""

    def for_model(self, info: ModelInfo) -> EverythingSettings:
        """The same with what was left open filled in."""
        iou, stability = _THRESHOLDS.get(info.name, (0.88, 0.95))
        return replace(
            self,
            points_per_batch=self.points_per_batch or info.prompts_per_call,
            pred_iou_thresh=iou if self.pred_iou_thresh is None else self.pred_iou_thresh,
            stability_score_thresh=stability if self.stability_score_thresh is None else self.stability_score_thresh,
        )
