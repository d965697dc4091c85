from __future__ import annotations

import math

import pytest
import torch

from mobilesam.train.config import LossConfig
from mobilesam.train.losses import dice_loss, focal_loss, mask_iou, mask_loss


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
