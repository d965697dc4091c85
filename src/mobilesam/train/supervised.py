"""One training step from masks, as SAM is trained (arXiv 2304.02643, section 3 and appendix A)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from mobilesam.model.sam import Sam
from mobilesam.train.config import TrainRecipe
from mobilesam.train.losses import mask_iou, mask_loss
from mobilesam.train.prompts import corrective_points, first_prompts, low_res_target

# B photos, M masks per photo, N = B*M prompts, S input side, L = S/4


class StepResult(NamedTuple):
    """What a step leaves: the loss to differentiate, and a number to look at.

    A tuple rather than a dataclass, because Fabric walks through the outputs of a module.
    """

    loss: Tensor
    iou: Tensor
    """Mean IoU of the first round's kept masks, detached."""


class SupervisedStep(nn.Module):
    """Wraps the network so that one forward is one step; DDP then sees every parameter used."""

    def __init__(self, model: Sam, recipe: TrainRecipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, images: Tensor, masks: Tensor, rounds: int, generator: Generator) -> StepResult:
        """Prompt every mask, correct `rounds - 1` times, average the losses of all rounds.

        Args:
            images: (B, 3, S, S) uint8.
            masks: (B, M, S, S) bool.
        """
        masks = masks.flatten(0, 1)  # (N, S, S)
        target = low_res_target(masks)
        embedding = self.model.encode(images.float().contiguous(memory_format=torch.channels_last))
        embedding = embedding.repeat_interleave(len(masks) // len(images), dim=0)  # (N, C, g, g)
        coords, labels, ambiguous = first_prompts(masks, self.recipe.prompts, generator)
        prior = target.new_zeros(len(masks), 1, *target.shape[-2:])
        losses, first_iou = [], torch.zeros((), device=masks.device)
        for i in range(rounds):
            has_prior = prior.new_full((len(masks),), float(i > 0))
            logits, scores = self.model.decode(embedding, coords, labels, prior, has_prior)
            loss, kept, iou = self.judge(logits.float(), scores.float(), target, ambiguous & (i == 0))
            losses.append(loss)
            if i == 0:
                first_iou = iou
            if i + 1 < rounds:
                prior = kept.detach()[:, None]
                point, label = corrective_points(kept.detach(), target, generator)
                coords, labels = torch.cat([coords, point], dim=1), torch.cat([labels, label], dim=1)
        return StepResult(torch.stack(losses).mean(), first_iou)

    def judge(self, logits: Tensor, scores: Tensor, target: Tensor, ambiguous: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of one round: the best of masks 1-3 for ambiguous prompts, mask 0 for the others.

        Args:
            logits: (N, 4, L, L); scores: (N, 4) predicted IoU; target: (N, L, L); ambiguous: (N,) bool.

        Returns:
            loss (), the kept masks' logits (N, L, L), their mean IoU ().
        """
        config = self.recipe.loss
        losses = mask_loss(logits, target, config)  # (N, 4)
        iou = mask_iou(logits.detach(), target)  # (N, 4)
        # The other answer is ruled out with an infinite loss, so one argmin serves both kinds of prompt.
        single = torch.arange(losses.shape[1], device=losses.device) == 0
        excluded = torch.where(ambiguous[:, None], single, ~single)
        best = losses.masked_fill(excluded, torch.inf).argmin(dim=1)
        rows = torch.arange(len(losses), device=losses.device)
        # Every mask that may be shown for this kind of prompt learns its score, also the ones not kept.
        score_error = ((scores - iou) ** 2).masked_fill(excluded, 0).sum(1) / (~excluded).sum(1)
        loss = losses[rows, best].mean() + config.iou * score_error.mean()
        return loss, logits[rows, best], iou[rows, best].mean()
