"""Distillation with a loss on masks, which fine-tunes a student after decoupled distillation.

semi-coupled   the decoder is the teacher's, copied and frozen; only the encoder learns
coupled        encoder and decoder learn together; fresh, or from a student that is already good

Both are prompted at random, as arXiv 2306.14289, section 3.1 describes, and get corrective points where they are wrong
if `prompts.round_weights` allows more than one round: EdgeSAM's prompt-in-the-loop (arXiv 2312.06660, section 3.2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.decoupled import encode_padded, teach
from mobilesam.model.sam import Sam
from mobilesam.train.interactive import Draws, Prompts, StepResult, best_scored, interactive_loss
from mobilesam.train.prompts import first_prompts

# B photos, M masks per photo, N = B*M prompts, S input side, L = S/4, C channels, g grid


class MaskStep(nn.Module):
    """Training step of distillation on masks: prompts from annotated objects, target masks from the teacher.

    Args:
        student: what of it learns is decided by its caller.
        teacher: frozen; its encoder runs only where no embedding is cached.
    """

    def __init__(self, student: Sam, teacher: Sam, recipe: DistillRecipe) -> None:
        super().__init__()
        self.student, self.teacher, self.recipe = student, teacher, recipe

    def forward(self, batch: dict[str, Any], draws: Draws) -> StepResult:
        """Compute the loss between the student's and the teacher's masks for the same prompts.

        Args:
            batch: `image` (B, 3, S, S) uint8, `input_hw` (B, 2), `masks` (B, M, S, S) bool, `embedding` (B, C, g, g).
        """
        images, input_hw, masks = batch["image"], batch["input_hw"], batch["masks"]
        expected = batch["embedding"] if "embedding" in batch else teach(self.teacher, images, input_hw)
        found = encode_padded(self.student, images, input_hw)
        per_photo = masks.shape[1]
        prompts = Prompts(*first_prompts(masks.flatten(0, 1), self.recipe.prompts, draws.own))
        target = self.answer(expected.repeat_interleave(per_photo, dim=0), prompts)
        repeated = found.repeat_interleave(per_photo, dim=0)  # (N, C, g, g)
        return interactive_loss(self.student, repeated, prompts, target, draws, self.recipe.loss)

    @torch.no_grad()
    def answer(self, embedding: Tensor, prompts: Prompts) -> Tensor:
        """The teacher's best-scored mask for each prompt: (N, L, L) of 0 and 1."""
        side = 4 * embedding.shape[-1]
        none = embedding.new_zeros(len(embedding), 1, side, side)
        logits, scores = self.teacher.decode(embedding, prompts.coords, prompts.labels, none, none[:, 0, 0, 0])
        return (best_scored(logits, scores, prompts.is_point) > 0).float()
