from __future__ import annotations

import pytest
import torch

from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.train.config import PromptConfig, TrainRecipe
from mobilesam.train.supervised import SupervisedStep


@pytest.fixture
def step() -> SupervisedStep:
    torch.manual_seed(0)
    return SupervisedStep(Sam(TINY), TrainRecipe(prompts=PromptConfig()))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    masks = torch.zeros(2, 3, 64, 64, dtype=torch.bool)
    masks[:, 0, 10:40, 10:40] = True
    masks[:, 1, 30:60, 5:30] = True
    masks[:, 2, 5:20, 40:60] = True
    return torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), masks


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_step_trains_every_part_it_should(step: SupervisedStep, rounds: int) -> None:
    result = step(*batch(), rounds, torch.Generator().manual_seed(0))
    result.loss.backward()
    assert 0 <= result.iou <= 1
    untouched = {n.split(".")[1] for n, p in step.named_parameters() if p.grad is None}
    assert untouched == set()


def test_the_same_draws_give_the_same_loss(step: SupervisedStep) -> None:
    step.eval()
    data = batch()
    losses = [step(*data, 2, torch.Generator().manual_seed(seed)).loss.item() for seed in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]


def test_ambiguous_prompts_keep_the_best_of_three_and_others_the_first(step: SupervisedStep) -> None:
    target = torch.zeros(2, 16, 16)
    target[:, 4:12, 4:12] = 1
    good, bad = (target[0] - 0.5) * 20, torch.full((16, 16), -10.0)
    logits = torch.stack([torch.stack([bad, bad, good, bad]), torch.stack([good, bad, bad, bad])])
    scores = torch.zeros(2, 4)
    _, kept, iou = step.judge(logits, scores, target, torch.tensor([True, False]))
    assert torch.equal(kept[0], good)
    assert torch.equal(kept[1], good)
    assert iou == 1
    # The other way round, neither row may use its good mask.
    _, kept, iou = step.judge(logits, scores, target, torch.tensor([False, True]))
    assert torch.equal(kept[0], bad)
    assert torch.equal(kept[1], bad)
    assert iou == 0


def test_scores_learn_the_iou_they_had(step: SupervisedStep) -> None:
    target = torch.zeros(1, 16, 16)
    target[:, 4:12, 4:12] = 1
    logits = ((target - 0.5) * 60)[:, None].expand(1, 4, 16, 16)
    ambiguous = torch.tensor([False])
    right, _, _ = step.judge(logits, torch.tensor([[1.0, 0, 0, 0]]), target, ambiguous)
    wrong, _, _ = step.judge(logits, torch.tensor([[0.0, 1, 1, 1]]), target, ambiguous)
    assert right == pytest.approx(0, abs=1e-4)
    assert wrong == pytest.approx(1, abs=1e-4)
