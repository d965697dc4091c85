from __future__ import annotations

import pytest
import torch

from mobilesam.train.photo_config import PromptConfig
from mobilesam.train.prompts import (
    corrective_points,
    first_prompts,
    inside_points,
    jittered_boxes,
    low_res_target,
)


def squares(n: int = 64, size: int = 64) -> torch.Tensor:
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    masks[:, 12:44, 20:60] = True
    return masks


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_points_lie_inside_and_deep_ones_deeper() -> None:
    masks = squares(400)
    target = low_res_target(masks)
    points = inside_points(target, torch.zeros(400, dtype=torch.bool), generator())
    deep = inside_points(target, torch.ones(400, dtype=torch.bool), generator())
    for xy in (points, deep):
        assert ((xy[:, 0] >= 19.5) & (xy[:, 0] <= 60) & (xy[:, 1] >= 11.5) & (xy[:, 1] <= 44)).all()
    middle = torch.tensor([40.0, 28.0])
    assert (deep - middle).norm(dim=1).mean() < 0.7 * (points - middle).norm(dim=1).mean()


def test_a_speck_smaller_than_a_cell_is_still_hit() -> None:
    masks = torch.zeros(8, 64, 64, dtype=torch.bool)
    masks[:, 33, 21] = True
    xy = inside_points(low_res_target(masks), torch.zeros(8, dtype=torch.bool), generator())
    assert ((xy - torch.tensor([21.0, 33.0])).abs() <= 4).all()


def test_boxes_without_noise_are_tight_and_noise_is_bounded() -> None:
    masks = squares(200)
    tight = jittered_boxes(masks, PromptConfig(box_jitter=0), generator())
    assert tight[0].tolist() == [[20, 12], [60, 44]]
    noisy = jittered_boxes(masks, PromptConfig(box_jitter=0.5, box_jitter_max=0.05), generator())
    error = (noisy - tight).abs()
    assert error.max() <= 0.05 * 64 + 1e-4
    assert error.mean() > 0.5


def test_first_prompts_mix_points_and_boxes() -> None:
    coords, labels, is_point = first_prompts(squares(300), PromptConfig(point_probability=0.3), generator())
    assert coords.shape == (300, 2, 2)
    assert 0.2 < is_point.float().mean() < 0.4
    assert labels[is_point].unique(dim=0).tolist() == [[1, -1]]
    assert labels[~is_point].unique(dim=0).tolist() == [[2, 3]]


def test_corrections_land_in_the_error_with_the_right_label() -> None:
    target = low_res_target(squares(2))
    predicted = torch.full_like(target, -5)
    predicted[0, 3:11, 5:10] = 5  # the right half of the object is missed
    predicted[1] = 5  # everything is called object
    coords, labels = corrective_points(predicted, target, generator())
    assert labels.flatten().tolist() == [1, 0]
    assert coords[0, 0, 0] >= 39.5
    x, y = coords[1, 0]
    assert not (20 <= x < 60 and 12 <= y < 44)


def test_a_point_stays_in_the_cell_that_was_drawn_whatever_the_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest float32 below 1, added to the number of the last cell, rounds to that of the next."""
    target = torch.zeros(1, 16, 16)
    target[0, -1, -1] = 1
    largest = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: largest.expand(shape))
    coords, labels = corrective_points(torch.full_like(target, -5), target, generator())
    assert labels.flatten().tolist() == [1]
    assert ((coords > 62.5) & (coords < 63.5)).all()


def test_a_perfect_answer_gets_another_point_inside() -> None:
    target = low_res_target(squares(4))
    coords, labels = corrective_points((target - 0.5) * 10, target, generator())
    assert (labels == 1).all()
    assert (coords[:, 0, 0] >= 19.5).all()
