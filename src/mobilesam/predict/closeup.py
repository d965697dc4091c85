"""A mask from zoom: logits of a region that was encoded again, and their blending into those of the whole photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilesam import masks
from mobilesam.equality import same_fields
from mobilesam.predict.enclosure import Enclosure
from mobilesam.region import Region

# H W photo, h w region, L = 4g side of the logits

OUTSIDE = -10.0  # a logit of clear background
BLEND_SHARE = 1 / 12  # of the region's shorter side; half of what REGION_FACTOR leaves beside a square object


@dataclass(frozen=True, eq=False)
class Closeup:
    """One mask of a region of the photo that was encoded separately."""

    region_xyxy: Region
    low_res: NDArray[np.float32] = field(repr=False)
    """(L, L) logits of the square input, the region with its padding."""
    image_size: int
    input_hw: tuple[int, int]
    """Size of the resized region within the square input."""
    goes_on: bool
    """Whether the object may extend beyond the region: True after clicks; False after a box, which encloses it."""

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Closeup) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def logits(self) -> NDArray[np.float32]:
        """Logits (h, w), one per pixel of the region."""
        return masks.upscale(self.low_res, self.image_size, self.input_hw, self.region_xyxy.hw)

    def mask(self, photo_hw: tuple[int, int], enclosure: Enclosure | None = None) -> NDArray[np.bool_]:
        """Mask (H, W) of the whole photo, False outside the region; `enclosure` lowers the logits outside its box."""
        region, logits = self.region_xyxy, self.logits()
        if enclosure is not None:
            enclosure.lower(logits, region.hw, region[:2])
        return region.paste(masks.threshold(logits), photo_hw)

    def paste(self, first: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blend the region's logits into those of the whole photo.

        Args:
            first: (H, W) logits before zoom. They are ignored if the object does not extend beyond the region.

        Returns:
            (H, W) logits, without a step at the region's edge if the object may extend beyond it.
        """
        region, inside = self.region_xyxy, self.logits()  # inside: (h, w)
        if self.goes_on:
            weight = blend_weight(region, (first.shape[0], first.shape[1]))  # (h, w)
            inside = weight * inside + (1 - weight) * region.cut(first)
            whole = first.copy()
        else:
            whole = np.full_like(first, OUTSIDE)
        region.cut(whole)[...] = inside
        return whole


def blend_weight(region_xyxy: Region, photo_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Weight (h, w) of the region's logits: 1 inside, falling towards 0 at edges that are not edges of the photo."""
    x0, y0, x1, y1 = region_xyxy
    margin = max(1, round(min(region_xyxy.hw) * BLEND_SHARE))
    across = ramp(x1 - x0, margin, rises=x0 > 0, falls=x1 < photo_hw[1])  # (w,)
    down = ramp(y1 - y0, margin, rises=y0 > 0, falls=y1 < photo_hw[0])  # (h,)
    return np.minimum(down[:, None], across[None, :])


def ramp(length: int, margin: int, *, rises: bool, falls: bool) -> NDArray[np.float32]:
    """Weights (length,) along one side: 1, with an optional linear ramp at the start and at the end."""
    steps = np.arange(1, length + 1) / (margin + 1)
    weight = np.ones(length)
    if rises:
        weight = np.minimum(weight, steps)
    if falls:
        weight = np.minimum(weight, steps[::-1])
    return weight.astype(np.float32)
