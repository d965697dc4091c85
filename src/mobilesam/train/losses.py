"""Mask losses and IoU, one value per mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilesam.train.learning_config import LossConfig

# N prompts, K masks per prompt, L side of the logits


EDGE = 2  # cells of the logits on either side of the target's edge


def mask_loss(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """Weighted sum of the configured loss terms.

    Args:
        logits: (N, K, L, L).
        target: coverage in 0-1, (N, L, L) or a multiple of that side, to which the logits are enlarged.
        config: weights.

    Returns:
        (N, K)
    """
    scale = target.shape[-1] // logits.shape[-1]
    if scale > 1:
        logits = F.interpolate(logits, scale_factor=float(scale), mode="bilinear", align_corners=False)
    edge = edge_band(target, EDGE * scale) if config.boundary else None
    target = target[:, None].expand_as(logits)
    loss = config.dice * dice_loss(logits, target)
    if config.bce or edge is not None:
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        loss = loss + config.bce * cross_entropy.mean((2, 3))
        if edge is not None:
            near = (cross_entropy * edge[:, None]).sum((2, 3)) / edge.sum((1, 2)).clamp(min=1)[:, None]
            loss = loss + config.boundary * near
    if config.focal:
        loss = loss + config.focal * focal_loss(logits, target)
    return loss


def edge_band(target: Tensor, radius: int) -> Tensor:
    """Mark the pixels within `radius` of the target's edge: (N, L, L) coverage → 1 near the edge, 0 elsewhere."""
    both = torch.stack([target, -target], dim=1)  # (N, 2, L, L)
    high, low = F.max_pool2d(both, 2 * radius + 1, stride=1, padding=radius).unbind(1)
    return (high + low > 0).float()


def rank_loss(scores: Tensor, iou: Tensor, ambiguous: Tensor) -> Tensor:
    """Ranking loss: the best of masks 1-3 must lead the others in predicted IoU by as much as it does in true IoU.

    Args:
        scores: (N, 4) predicted IoU.
        iou: (N, 4) the true one.
        ambiguous: (N,) bool: the prompts that are answered by masks 1-3; the others do not count.

    Returns:
        Mean over the ambiguous prompts ().
    """
    scores, iou = scores[:, 1:], iou[:, 1:]
    best = iou.argmax(dim=1, keepdim=True)
    lead, wanted = scores.gather(1, best) - scores, iou.gather(1, best) - iou  # (N, 3), zero for the best itself
    shortfall = F.relu(wanted - lead).sum(1) / (scores.shape[1] - 1)
    return (shortfall * ambiguous).sum() / ambiguous.sum().clamp(min=1)


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
