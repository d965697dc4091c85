from __future__ import annotations

import pytest
import torch

from mobilesam.train.interactive import best_scored, judge
from mobilesam.train.learning_config import LossConfig


def test_ambiguous_prompts_keep_the_best_of_three_and_others_the_first() -> None:
    target = torch.zeros(2, 16, 16)
    target[:, 4:12, 4:12] = 1
    good, bad = (target[0] - 0.5) * 20, torch.full((16, 16), -10.0)
    logits = torch.stack([torch.stack([bad, bad, good, bad]), torch.stack([good, bad, bad, bad])])
    scores = torch.zeros(2, 4)
    _, kept, iou = judge(logits, scores, target, target, torch.tensor([True, False]), LossConfig())
    assert torch.equal(kept[0], good)
    assert torch.equal(kept[1], good)
    assert iou == 1
    # The other way round, neither row may use its good mask.
    _, kept, iou = judge(logits, scores, target, target, torch.tensor([False, True]), LossConfig())
    assert torch.equal(kept[0], bad)
    assert torch.equal(kept[1], bad)
    assert iou == 0


def test_scores_learn_the_iou_they_had() -> None:
    target = torch.zeros(1, 16, 16)
    target[:, 4:12, 4:12] = 1
    logits = ((target - 0.5) * 60)[:, None].expand(1, 4, 16, 16)
    ambiguous = torch.tensor([False])
    right, _, _ = judge(logits, torch.tensor([[1.0, 0, 0, 0]]), target, target, ambiguous, LossConfig())
    wrong, _, _ = judge(logits, torch.tensor([[0.0, 1, 1, 1]]), target, target, ambiguous, LossConfig())
    assert right == pytest.approx(0, abs=1e-4)
    assert wrong == pytest.approx(1, abs=1e-4)


def test_the_mask_shown_is_the_best_scored_of_those_allowed() -> None:
    logits = torch.arange(4.0).view(1, 4, 1, 1).expand(2, 4, 2, 2)
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.2]]).expand(2, 4)
    shown = best_scored(logits, scores, torch.tensor([True, False]))
    assert shown[:, 0, 0].tolist() == [2, 0]
