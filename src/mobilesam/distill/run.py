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
from mobilesam.outputs import Outputs
from mobilesam.train.loop import Job, fit
from mobilesam.train.photos import input_files


def distill(
    recipe: DistillRecipe, *, resume: bool = False, show_progress: bool = True, overwrite: bool = False
) -> Path:
    """Train a student by a recipe.

    Args:
        recipe: which student, teacher and photos, and for how long.
        resume, show_progress: as of `train.loop.fit`.
        overwrite: replace files of others in the run's folder, but never what the recipe reads.

    Returns:
        The file with the averaged weights.

    Raises:
        OutputError: a file of somebody else, or an input, would be replaced.
        DataError, ModelError, SettingsError, OutOfMemoryError: as of `train.loop.fit`.
    """
    outputs = Outputs.beside(inputs(recipe), overwrite=overwrite)
    return fit(recipe, partial(make_job, recipe), outputs=outputs, resume=resume, show_progress=show_progress)


def inputs(recipe: DistillRecipe) -> list[str | Path]:
    """The files and folders that a recipe reads; errors are those of `train.photos.input_files`."""
    stores = [] if recipe.store.live else [recipe.store.path]
    return input_files(recipe.data, [recipe.teacher.checkpoint, recipe.start_from], stores)


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
    return Job(student, step, dataset, photos.summary(), validation, problems=photos.problems)
