"""Fitting arrays to the network's square input: shrinking masks, and padding to a square."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# K channels, h w a resized photo or its cells


def shrink(mask: NDArray[np.bool_], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Shrink a mask, with 1 where it covers at least half of a new pixel: (h, w) of 0 and 1."""
    resized = cv2.resize(mask.astype(np.uint8) * 255, (hw[1], hw[0]), interpolation=cv2.INTER_AREA)
    return (np.asarray(resized) > 127).astype(np.uint8)


def pad_square(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Pad with zeros at the right and the bottom: (K, h, w) → (K, size, size)."""
    out = np.zeros((array.shape[0], size, size), array.dtype)
    out[:, : array.shape[1], : array.shape[2]] = array
    return out
