"""Decoupled distillation: a loss between image embeddings, without prompts, masks or a decoder.

arXiv 2306.14289, section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mobilesam.contract import PATCH_SIZE
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.losses import embedding_loss
from mobilesam.model.sam import Sam
from mobilesam.train.interactive import Draws, StepResult
from mobilesam.train.square import in_photo

# B photos, S input side, C channels, g grid


def encode_padded(model: Sam, images: Tensor, input_hw: Tensor) -> Tensor:
    """Embed a batch of photos of different shapes, each padded as at inference: with zeros after normalisation.

    Args:
        images: (B, 3, S, S) uint8, anything outside the photo.
        input_hw: (B, 2) the part of the square that each photo covers.
    """
    inside = in_photo(input_hw, images.shape[-1])
    images = torch.where(inside, images.float(), model.pixel_mean)
    return model.encode(images.contiguous(memory_format=torch.channels_last))


class DecoupledStep(nn.Module):
    """Training step of decoupled distillation: one forward pass computes the loss of one batch.

    Args:
        student: its encoder learns.
        teacher: None where every embedding is cached.
    """

    def __init__(self, student: Sam, teacher: Sam | None, recipe: DistillRecipe) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.config = recipe.embedding_loss

    def forward(self, batch: dict[str, Any], draws: Draws) -> StepResult:
        """Compute the loss between the embeddings of student and teacher over the cells that the photo covers.

        Args:
            batch: `image` (B, 3, S, S) uint8, `input_hw` (B, 2), and the cached `embedding` (B, C, g, g) or a teacher.
            draws: unused; nothing here is random.
        """
        images, input_hw = batch["image"], batch["input_hw"]
        target = batch["embedding"] if self.teacher is None else teach(self.teacher, images, input_hw)
        found = encode_padded(self.student, images, input_hw).float()
        cells = in_photo(-(-input_hw // PATCH_SIZE), target.shape[-1])
        counted = torch.ones_like(cells) if self.config.padding else cells
        loss = embedding_loss(found, target, counted, self.config)
        return StepResult(loss, {"cosine": torch.cosine_similarity(found, target, dim=1)[cells[:, 0]].mean().detach()})


@torch.no_grad()
def teach(teacher: Sam, images: Tensor, input_hw: Tensor) -> Tensor:
    """Run the teacher on the batch: its embeddings (B, C, g, g)."""
    return encode_padded(teacher, images, input_hw).float()
