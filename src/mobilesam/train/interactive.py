"""SAM's interactive training loss: repeated rounds of prompts and corrective points (arXiv 2304.02643, appendix A).

Targets may come from people or from a teacher; the rounds are the same.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from mobilesam.model.sam import Sam
from mobilesam.train.learning_config import LossConfig
from mobilesam.train.losses import mask_iou, mask_loss, rank_loss
from mobilesam.train.prompts import corrective_points

# B photos, M masks per photo, N = B*M prompts, S input side, L = S/4


class Draws(NamedTuple):
    """Random numbers of one training step."""

    own: Generator
    """Generator of this process, on its device."""
    rounds: int
    """Number of prompt rounds per object, the same in every process."""


class StepResult(NamedTuple):
    """Result of a training step: the loss, and detached numbers for the log.

    A tuple rather than a dataclass, because Fabric walks through the outputs of a module.
    """

    loss: Tensor
    numbers: dict[str, Tensor]


class Prompts(NamedTuple):
    """First prompts of N objects."""

    coords: Tensor
    """(N, 2, 2) in input pixels."""
    labels: Tensor
    """(N, 2)"""
    is_point: Tensor
    """(N,) bool: prompts of a single point, which are ambiguous and answered by three masks."""


def interactive_loss(
    model: Sam,
    embedding: Tensor,
    prompts: Prompts,
    target: Tensor,
    draws: Draws,
    config: LossConfig,
    fine: Tensor | None = None,
) -> StepResult:
    """Loss averaged over `draws.rounds` prompt rounds; each round after the first adds a corrective point.

    Args:
        embedding: (N, C, g, g).
        target: (N, L, L) coverage, 0-1.
        fine: the same at `loss.scale` times the side; enlarged from `target` when None.

    Returns:
        The loss; `iou`, the mean IoU of the first round's kept masks.
    """
    coords, labels, ambiguous = prompts
    n, rounds = len(target), draws.rounds
    if fine is None:
        fine = enlarge(target, config.scale)
    prior = target.new_zeros(n, 1, *target.shape[-2:])
    losses, first_iou = [], torch.zeros((), device=target.device)
    for i in range(rounds):
        has_prior = prior.new_full((n,), float(i > 0))
        logits, scores = model.decode(embedding, coords, labels, prior, has_prior)
        loss, kept, iou = judge(logits.float(), scores.float(), target, fine, ambiguous & (i == 0), config)
        losses.append(loss)
        if i == 0:
            first_iou = iou
        if i + 1 < rounds:
            prior = kept.detach()[:, None]
            point, label = corrective_points(kept.detach(), target, draws.own)
            coords, labels = torch.cat([coords, point], dim=1), torch.cat([labels, label], dim=1)
    return StepResult(torch.stack(losses).mean(), {"iou": first_iou})


def judge(
    logits: Tensor, scores: Tensor, target: Tensor, fine: Tensor, ambiguous: Tensor, config: LossConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the loss of one round: of the best of masks 1-3 for ambiguous prompts, of mask 0 for the others.

    Args:
        logits: (N, 4, L, L); scores: (N, 4) predicted IoU; target: (N, L, L); ambiguous: (N,) bool.
        fine: (N, sL, sL), what the mask terms compare with.

    Returns:
        loss (), the kept masks' logits (N, L, L), their mean IoU ().
    """
    losses = mask_loss(logits, fine, config)  # (N, 4)
    iou = mask_iou(logits.detach(), target)  # (N, 4)
    # An infinite loss excludes the masks of the other kind of prompt, so that one argmin serves both kinds.
    excluded = excluded_masks(ambiguous, losses.shape[1])
    best = losses.masked_fill(excluded, torch.inf).argmin(dim=1)
    rows = torch.arange(len(losses), device=losses.device)
    # Every mask that may be shown for this kind of prompt learns its score, also the ones not kept.
    score_error = ((scores - iou) ** 2).masked_fill(excluded, 0).sum(1) / (~excluded).sum(1)
    loss = losses[rows, best].mean() + config.iou * score_error.mean()
    if config.rank:
        loss = loss + config.rank * rank_loss(scores, iou, ambiguous)
    return loss, logits[rows, best], iou[rows, best].mean()


def enlarge(target: Tensor, scale: int) -> Tensor:
    """Enlarge bilinearly: (N, L, L) → (N, scale·L, scale·L)."""
    if scale == 1:
        return target
    return F.interpolate(target[:, None], scale_factor=float(scale), mode="bilinear", align_corners=False)[:, 0]


def excluded_masks(ambiguous: Tensor, num_masks: int) -> Tensor:
    """Masks that do not count: mask 0 for ambiguous prompts, the others for clear ones: (N,) → (N, K) bool."""
    is_single = torch.arange(num_masks, device=ambiguous.device) == 0
    return torch.where(ambiguous[:, None], is_single, ~is_single)


def best_scored(logits: Tensor, scores: Tensor, ambiguous: Tensor) -> Tensor:
    """The mask with the best predicted IoU, which a user is shown: (N, K, L, L), (N, K) → (N, L, L)."""
    allowed = scores.masked_fill(excluded_masks(ambiguous, scores.shape[1]), -torch.inf)
    return logits[torch.arange(len(logits), device=logits.device), allowed.argmax(dim=1)]
