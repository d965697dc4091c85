"""Running a distillation recipe."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.coupled import MaskStep
from mobilesam.distill.data import load_photos
from mobilesam.distill.decoupled import DecoupledStep
from mobilesam.distill.student import build_student
from mobilesam.distill.teacher import load_teacher
from mobilesam.train.loop import Job, fit


def distill(recipe: DistillRecipe, *, resume: bool = False, show_progress: bool = True) -> Path:
    """Train a student and return the file with its averaged weights; raises as `train.loop.fit` does."""
    return fit(recipe, partial(make_job, recipe), resume=resume, show_progress=show_progress)


def make_job(recipe: DistillRecipe) -> Job:
    """Build the student, the training step and the photos of a recipe.

    Raises:
        ModelError: the teacher does not load, or the student to start from does not fit it.
        DataError: the data or the store cannot be used.
        SettingsError: the loss wants padding that the store did not keep.
    """
    teacher = load_teacher(recipe.teacher).requires_grad_(False)
    student = build_student(recipe, teacher)
    is_decoupled = recipe.method == "decoupled"
    dataset, photos, validation = load_photos(recipe, teacher, need_masks=not is_decoupled)
    if is_decoupled:
        step: nn.Module = DecoupledStep(student, teacher if recipe.store.live else None, recipe)
    else:
        step = MaskStep(student, teacher, recipe)
    return Job(student, step, dataset, photos.summary(), validation)
