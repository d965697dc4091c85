"""How a photo is searched for masks: SAM's settings under SAM's names, and a few more."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Literal, get_args

from mobilesam.errors import SettingsError
from mobilesam.predict.backend import ModelInfo

DenseWhere = Literal["small", "uncovered"]

# A small model's scores are low, so the thresholds made for SAM would leave little of its masks. These keep 86 % of the
# recall with an eighth of the masks, on training photos: benchmarks/thresholds.py, docs/results/everything.md.
_THRESHOLDS = {"embedded": (0.4, 0.7)}

# What makes sense of each number, and beyond it what turns a filter off (no overlap is above 1).
_WHOLE = {
    "points_per_side": (1, 1024),
    "points_per_batch": (1, 2**16),
    "crop_n_layers": (0, 8),
    "crop_n_points_downscale_factor": (1, 1024),
    "min_mask_region_area": (0, 2**40),
    "coarse_factor": (1, 1024),
}
_REAL = {
    "pred_iou_thresh": (0, 2),
    "stability_score_thresh": (0, 1),
    "stability_score_offset": (0, 1e6),
    "box_nms_thresh": (0, 2),
    "crop_nms_thresh": (0, 2),
    "crop_overlap_ratio": (0, 1),
    "small_share": (0, 2),
}


def is_whole(value: object) -> bool:
    """A whole number of Python's or numpy's; True and False are none."""
    return type(value) is not bool and isinstance(value, Integral)


def is_real(value: object) -> bool:
    """A number; not a bool, not NaN."""
    return type(value) is not bool and isinstance(value, Real) and not math.isnan(float(value))


@dataclass(frozen=True)
class EverythingSettings:
    """Settings of the search. The defaults are those of SAM's generator, but for what is left to the model."""

    points_per_side: int = 32
    """The grid has this many points along each side of a crop."""
    points_per_batch: int | None = None
    """Prompts decoded at once; more cost memory and save time; None takes what suits the model."""
    pred_iou_thresh: float | None = None
    """Masks whose predicted IoU is not above this are dropped, 0 drops none; None takes what suits the model."""
    stability_score_thresh: float | None = None
    """Masks less stable than this are dropped; None takes what suits the model."""
    stability_score_offset: float = 1.0
    """Stability: IoU of the masks cut at this many logits above and below the threshold."""
    box_nms_thresh: float = 0.7
    """Of two masks of one crop whose boxes overlap more, the better-scored stays."""
    crop_n_layers: int = 0
    """Also search 4 crops, then 16, and so on: layer i has 2^i along each side."""
    crop_nms_thresh: float = 0.7
    """The same between crops, where the smaller crop's mask stays."""
    crop_overlap_ratio: float = 512 / 1500
    """Overlap of the crops of the first layer, as a fraction of the photo's short side."""
    crop_n_points_downscale_factor: int = 1
    """The grid of layer i has points_per_side / factor^i points along a side."""
    min_mask_region_area: int = 0
    """Holes and islands smaller than this many pixels are removed; 0 leaves masks as they are."""
    coarse_factor: int = 1
    """Above 1, a grid this many times coarser is asked first, and the full grid only where `dense_where` says
    (a hierarchical search, as in TinySAM, arXiv 2312.13789, section 3.3)."""
    dense_where: DenseWhere = "small"
    """Where the full grid is asked after a coarse one: "small", around coarse points that found something small, since
    small things come in company; or "uncovered", where no mask of the coarse grid lies, TinySAM's rule."""
    small_share: float = 0.05
    """A mask that covers less of its crop is small."""
    refine: bool = False
    """Ask once more at the innermost pixel of each mask found, which is a better prompt than a grid's."""

    def __post_init__(self) -> None:
        for name, (least, most) in _WHOLE.items():
            value = getattr(self, name)
            is_open = value is None and name == "points_per_batch"
            if not is_open and not (is_whole(value) and least <= value <= most):
                raise SettingsError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
        for name, (low, high) in _REAL.items():
            value = getattr(self, name)
            is_open = value is None and name in ("pred_iou_thresh", "stability_score_thresh")
            if not is_open and not (is_real(value) and low <= value <= high):
                raise SettingsError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
        if not isinstance(self.refine, bool):
            raise SettingsError(f"refine must be True or False, not {self.refine!r}")
        if self.dense_where not in get_args(DenseWhere):
            raise SettingsError(f"dense_where is {' or '.join(get_args(DenseWhere))}, not '{self.dense_where}'")

    def for_model(self, info: ModelInfo) -> EverythingSettings:
        """The same with what was left open filled in."""
        iou, stability = _THRESHOLDS.get(info.name, (0.88, 0.95))
        return replace(
            self,
            points_per_batch=self.points_per_batch or info.prompts_per_call,
            pred_iou_thresh=iou if self.pred_iou_thresh is None else self.pred_iou_thresh,
            stability_score_thresh=stability if self.stability_score_thresh is None else self.stability_score_thresh,
        )
