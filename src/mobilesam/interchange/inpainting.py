"""Masks for programs that paint objects over (inpainting): grown, and with a soft edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.errors import SettingsError

# H W photo


def inpainting_mask(mask: NDArray[np.bool_], grow: float, feather: float) -> NDArray[np.uint8]:
    """The picture (H, W) of `Mask.for_inpainting`, 255 where to paint, from a mask (H, W).

    Raises:
        SettingsError: `grow` or `feather` is negative or no number.
    """
    for name, value in (("grow", grow), ("feather", feather)):
        if not 0 <= value < np.inf:
            raise SettingsError(f"{name} must be 0 or more pixels, found {value}")
    if not mask.any() or not (grow or feather):
        return mask.astype(np.uint8) * 255
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # (H, W) pixels
    if not feather:
        return (outside <= grow).astype(np.uint8) * 255
    share = np.clip(1 - (outside - grow) / (feather + 1), 0, 1)  # the ramp ends one pixel beyond the feather
    return np.rint(255 * share).astype(np.uint8)
