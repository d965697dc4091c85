from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mobilesam.contract import LABEL_OBJECT, LABEL_PADDING
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.coupled import MaskStep
from mobilesam.distill.student import build_student
from mobilesam.errors import SettingsError
from mobilesam.model import checkpoint
from mobilesam.recipe import from_dict
from mobilesam.train.interactive import Prompts
from tests.helpers.distilling import embed_here, history, run


@pytest.fixture
def embedded_recipes(recipes):
    embed_here(recipes())
    return recipes


def changed_parts(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {key.split(".")[0] for key in before if key in after and not torch.equal(before[key], after[key])}


def test_semi_coupled_learns_an_encoder_for_the_teachers_own_decoder(embedded_recipes, tiny_checkpoint: Path) -> None:
    student = run(embedded_recipes(method="semi-coupled"))
    teacher = checkpoint.load(tiny_checkpoint).state_dict()
    decoder = {k: v for k, v in teacher.items() if not k.startswith("image_encoder")}
    assert changed_parts(decoder, student) == set()


def test_coupled_starts_with_a_decoder_of_its_own_and_trains_it(embedded_recipes, tiny_checkpoint: Path) -> None:
    teacher = checkpoint.load(tiny_checkpoint)
    fresh = build_student(embedded_recipes(method="coupled"), teacher)
    decoder = {k: v for k, v in teacher.state_dict().items() if k.startswith("mask_decoder")}
    assert changed_parts(decoder, fresh.state_dict()) == {"mask_decoder"}
    assert all(p.requires_grad for p in fresh.parameters())


@pytest.mark.parametrize(("method", "learns"), [("semi-coupled", False), ("coupled", True)])
def test_a_decoupled_student_is_fine_tuned_with_its_decoder_frozen_or_not(
    embedded_recipes, method: str, learns: bool
) -> None:
    before = run(embedded_recipes("decoupled", run={"steps": 3}))
    start = str(Path(embedded_recipes("decoupled").run.output))
    rounds = {"round_weights": [0.0, 1.0]}
    after = run(embedded_recipes("tuned", method=method, start_from=start, run={"steps": 3}, prompts=rounds))
    parts = changed_parts(before, after)
    assert "image_encoder" in parts
    assert ("mask_decoder" in parts) is learns


def test_a_student_that_is_the_teacher_answers_as_it_does(recipes, tiny_checkpoint: Path) -> None:
    recipe: DistillRecipe = recipes(method="semi-coupled")
    teacher = checkpoint.load(tiny_checkpoint)
    step = MaskStep(teacher, teacher, recipe)
    embedding = torch.randn(3, 32, 4, 4)
    coords = torch.tensor([[[20.0, 20.0], [0.0, 0.0]]]).expand(3, 2, 2)
    labels = torch.tensor([[LABEL_OBJECT, LABEL_PADDING]]).expand(3, 2).float()
    shown = step.answer(embedding, Prompts(coords, labels, torch.tensor([True, True, False])))
    none = torch.zeros(3, 1, 16, 16)
    with torch.inference_mode():
        logits, scores = teacher.decode(embedding, coords, labels, none, none[:, 0, 0, 0])
    best = [1 + int(scores[0, 1:].argmax()), 1 + int(scores[1, 1:].argmax()), 0]
    for i, k in enumerate(best):
        assert torch.equal(shown[i], (logits[i, k] > 0).float())


def test_mask_distillation_learns(embedded_recipes) -> None:
    recipe = embedded_recipes(method="semi-coupled", run={"steps": 40})
    run(recipe)
    losses = [line["loss"] for line in history(recipe) if "loss" in line]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(SettingsError, match="found 'magic'"):
        from_dict(DistillRecipe, {"method": "magic"})
