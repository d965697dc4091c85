"""The part of the network's square input that a photo covers."""

from __future__ import annotations

import torch
from torch import Tensor


def in_photo(input_hw: Tensor, size: int) -> Tensor:
    """Mark the pixels or cells of a square that lie in the photo: (B, 2) (h, w) → (B, 1, size, size) bool."""
    at = torch.arange(size, device=input_hw.device)
    rows, columns = at < input_hw[:, :1], at < input_hw[:, 1:]  # (B, size) each
    return (rows[:, :, None] & columns[:, None, :])[:, None]
