"""The loss between the student's and the teacher's image embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilesam.distill.config import EmbeddingLossConfig

# B photos, C channels, g grid


def embedding_loss(student: Tensor, teacher: Tensor, counted: Tensor, config: EmbeddingLossConfig) -> Tensor:
    """Weighted sum of the configured terms (arXiv 2306.14289, section 3.2).

    Each photo's cells are averaged before the photos are, so that a photo with much padding counts like any other and
    the mean over two processes' photos is the mean over all.

    Args:
        student, teacher: (B, C, g, g).
        counted: (B, 1, g, g) bool, the cells that count.
    """
    loss = student.new_zeros(())
    if config.mse:
        loss = loss + config.mse * cell_mean((student - teacher).square().mean(1, keepdim=True), counted)
    if config.l1:
        loss = loss + config.l1 * cell_mean((student - teacher).abs().mean(1, keepdim=True), counted)
    if config.huber:
        error = F.huber_loss(student, teacher, reduction="none")
        loss = loss + config.huber * cell_mean(error.mean(1, keepdim=True), counted)
    if config.cosine:
        angle = 1 - torch.cosine_similarity(student, teacher, dim=1)[:, None]
        loss = loss + config.cosine * cell_mean(angle, counted)
    return loss


def cell_mean(error: Tensor, counted: Tensor) -> Tensor:
    """(B, 1, g, g) → (): mean over each photo's counted cells, then over photos."""
    per_photo = (error * counted).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp(min=1)
    return per_photo.mean()
