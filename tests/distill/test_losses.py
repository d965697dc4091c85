from __future__ import annotations

import pytest
import torch

from mobilesam.distill.config import EmbeddingLossConfig
from mobilesam.distill.losses import embedding_loss

EVERYWHERE = torch.ones(2, 1, 3, 3, dtype=torch.bool)


def only(**weights: float) -> EmbeddingLossConfig:
    return EmbeddingLossConfig(**{"mse": 0.0, **weights})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (EmbeddingLossConfig(), 4.0),
        (only(l1=1.0), 2.0),
        (only(huber=1.0), 1.5),
        (only(mse=0.5, l1=2.0), 6.0),
        (only(cosine=1.0), 0.0),
    ],
)
def test_each_term_has_its_textbook_value(config: EmbeddingLossConfig, expected: float) -> None:
    teacher = torch.full((2, 5, 3, 3), 1.0)
    assert embedding_loss(teacher + 2, teacher, EVERYWHERE, config) == pytest.approx(expected, abs=1e-6)


def test_opposite_vectors_are_two_apart() -> None:
    teacher = torch.randn(2, 5, 3, 3)
    assert embedding_loss(-teacher, teacher, EVERYWHERE, only(cosine=1.0)) == pytest.approx(2.0, abs=1e-5)


def test_cells_that_do_not_count_have_no_influence_and_no_gradient() -> None:
    teacher = torch.randn(2, 5, 3, 3)
    student = teacher.clone()
    student[:, :, 2] = 99
    student.requires_grad_()
    counted = EVERYWHERE.clone()
    counted[:, :, 2] = False
    loss = embedding_loss(student, teacher, counted, EmbeddingLossConfig(cosine=1, l1=1, huber=1))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert student.grad is not None
    assert not student.grad[:, :, 2].any()


def test_a_photo_with_much_padding_counts_like_any_other() -> None:
    teacher = torch.zeros(2, 5, 3, 3)
    student = torch.stack([torch.full((5, 3, 3), 1.0), torch.full((5, 3, 3), 3.0)])
    counted = EVERYWHERE.clone()
    counted[1, :, 1:] = False  # three cells of nine
    assert embedding_loss(student, teacher, counted, EmbeddingLossConfig()) == pytest.approx(5.0)
