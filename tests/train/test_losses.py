from __future__ import annotations

import math

import pytest
import torch

from mobilesam.train.learning_config import LossConfig
from mobilesam.train.losses import dice_loss, edge_band, focal_loss, mask_iou, mask_loss, rank_loss


def target() -> torch.Tensor:
    masks = torch.zeros(1, 16, 16)
    masks[:, 4:12, 4:12] = 1
    return masks


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much() -> None:
    perfect = ((target() - 0.5) * 60)[:, None]
    config = LossConfig(bce=1, focal=1, dice=1)
    assert mask_loss(perfect, target(), config).item() == pytest.approx(0, abs=1e-4)
    assert mask_loss(-perfect, target(), config).item() > 10


def test_values_known_by_hand() -> None:
    zero = torch.zeros(1, 1, 16, 16)
    truth = target()[:, None]
    # Probability 0.5 everywhere: overlap 2 * 32, sizes 128 and 64.
    assert dice_loss(zero, truth).item() == pytest.approx(1 - 65 / 193)
    assert focal_loss(zero, truth).item() == pytest.approx(0.25 * math.log(2))
    assert mask_loss(zero, target(), LossConfig(bce=1, dice=0)).item() == pytest.approx(math.log(2))


def test_iou_of_a_shifted_square() -> None:
    shifted = torch.roll(target(), 4, dims=2)[:, None] - 0.5
    assert mask_iou(shifted, target()).item() == pytest.approx(32 / 96)
    assert mask_iou(torch.full((1, 1, 16, 16), -1.0), target()).item() == 0


def test_at_twice_the_side_an_answer_is_compared_with_the_finer_target() -> None:
    """A target finer than the logits can say costs what the coarse side cannot see."""
    fine = torch.zeros(1, 32, 32)
    fine[:, 8:24, 9:23] = 1  # its sides lie in the middle of logits
    coarse = torch.nn.functional.avg_pool2d(fine, 2)
    logits = torch.logit(coarse, eps=1e-4)[:, None]
    config = LossConfig(bce=1, dice=0)
    at_once, at_twice = mask_loss(logits, coarse, config), mask_loss(logits, fine, config)
    assert at_once.shape == at_twice.shape == (1, 1)
    enlarged = torch.nn.functional.interpolate(logits, scale_factor=2.0, mode="bilinear")
    expected = torch.nn.functional.binary_cross_entropy_with_logits(enlarged[:, 0], fine)
    assert at_twice.item() == pytest.approx(expected.item())


def test_the_boundary_term_counts_what_is_near_the_edge_alone() -> None:
    band = edge_band(target(), 2)[0]
    assert band[2:14, 2:14].sum() == band.sum()
    assert band[4, 8] == 1
    assert band[7, 7] == 0
    far, near = (torch.full((1, 1, 16, 16), -9.0) + 18 * target()[:, None] for _ in range(2))
    far[..., 0, 0] = 9.0
    near[..., 3, 8] = 9.0
    config = LossConfig(bce=0, dice=0, boundary=1)
    assert mask_loss(far, target(), config).item() == pytest.approx(0, abs=1e-3)
    assert mask_loss(near, target(), config).item() > 0.05


def test_scores_that_lead_as_the_masks_do_cost_nothing() -> None:
    iou = torch.tensor([[0.0, 0.9, 0.5, 0.4], [0.0, 0.1, 0.2, 0.8]])
    clicks = torch.tensor([True, True])
    assert rank_loss(iou + 0.05, iou, clicks).item() == pytest.approx(0, abs=1e-6)
    swapped = torch.tensor([[0.0, 0.5, 0.9, 0.4], [0.0, 0.1, 0.2, 0.8]])
    # Of the first click: mask 1 should lead mask 2 by 0.4 and trails by 0.4, and mask 3 by 0.5 and leads by 0.1.
    assert rank_loss(swapped, iou, clicks).item() == pytest.approx((0.8 + 0.4) / 2 / 2)
    assert rank_loss(swapped, iou, torch.tensor([False, True])).item() == pytest.approx(0, abs=1e-6)
