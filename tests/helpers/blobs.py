"""Masks of awkward shapes."""

from __future__ import annotations

import cv2
import numpy as np


def blobs(seed: int) -> np.ndarray:
    """Several pieces with holes, and pieces inside the holes."""
    noise = np.random.default_rng(seed).random((60, 80)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2) > 0.5


def specks(seed: int) -> np.ndarray:
    """Single pixels, pixels that touch at corners, walls one pixel thick."""
    return np.random.default_rng(seed).random((20, 30)) > 0.5


ARRAYS = [
    *(blobs(seed) for seed in range(4)),
    *(specks(seed) for seed in range(4)),
    np.zeros((4, 5), bool),
    np.ones((4, 5), bool),
]
