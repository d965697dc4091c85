"""Mask losses, one value per mask, and the intersection over union they aim at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mobilesam.train.config import LossConfig

# N prompts, K masks per prompt, L side of the logits


def mask_loss(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """Weighted sum of the configured terms: (N, K, L, L) logits, (N, L, L) coverage → (N, K)."""
    target = target[:, None].expand_as(logits)
    loss = config.dice * dice_loss(logits, target)
    if config.bce:
        loss = loss + config.bce * F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    if config.focal:
        loss = loss + config.focal * focal_loss(logits, target)
    return loss


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice (arXiv 1606.04797), over the last two axes."""
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum((2, 3))
    return 1 - (overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss (arXiv 1708.02002) without class balancing, averaged over the last two axes."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    certainty = probability * target + (1 - probability) * (1 - target)
    return ((1 - certainty) ** gamma * cross_entropy).mean((2, 3))


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of thresholded (N, K, L, L) logits and (N, L, L) coverage: (N, K)."""
    predicted, truth = logits > 0, target[:, None] > 0.5
    intersection = (predicted & truth).sum((2, 3))
    union = (predicted | truth).sum((2, 3))
    return intersection / union.clamp(min=1)
