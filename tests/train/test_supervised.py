from __future__ import annotations

import pytest
import torch

from mobilesam.model.config import TINY
from mobilesam.model.sam import Sam
from mobilesam.train.config import TrainRecipe
from mobilesam.train.interactive import Draws
from mobilesam.train.learning_config import LossConfig
from mobilesam.train.photo_config import PromptConfig
from mobilesam.train.supervised import SupervisedStep


@pytest.fixture
def step() -> SupervisedStep:
    torch.manual_seed(0)
    return SupervisedStep(Sam(TINY), TrainRecipe(prompts=PromptConfig()))


def draws(seed: int, rounds: int = 1) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), rounds)


def batch() -> dict[str, torch.Tensor]:
    masks = torch.zeros(2, 3, 64, 64, dtype=torch.bool)
    masks[:, 0, 10:40, 10:40] = True
    masks[:, 1, 30:60, 5:30] = True
    masks[:, 2, 5:20, 40:60] = True
    return {"image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), "masks": masks}


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_step_trains_every_part_it_should(step: SupervisedStep, rounds: int) -> None:
    result = step(batch(), draws(0, rounds))
    result.loss.backward()
    assert 0 <= result.numbers["iou"] <= 1
    untouched = {n.split(".")[1] for n, p in step.named_parameters() if p.grad is None}
    assert untouched == set()


@pytest.mark.parametrize("loss", [LossConfig(scale=2), LossConfig(boundary=1.0), LossConfig(rank=1.0)])
def test_every_lever_of_the_loss_changes_the_step_and_still_trains_every_part(
    step: SupervisedStep, loss: LossConfig
) -> None:
    data = batch()
    plain = step(data, draws(1, 2)).loss.item()
    step.recipe = TrainRecipe(loss=loss)
    changed = step(data, draws(1, 2)).loss
    assert changed.item() != plain
    changed.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in step.parameters())


def test_the_same_draws_give_the_same_loss(step: SupervisedStep) -> None:
    step.eval()
    data = batch()
    losses = [step(data, draws(seed)).loss.item() for seed in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]
