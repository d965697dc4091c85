"""A distillation recipe, run to its end."""

from __future__ import annotations

from pathlib import Path

from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.coupled import mask_job
from mobilesam.distill.decoupled import decoupled_job
from mobilesam.train.loop import fit


def distill(recipe: DistillRecipe, *, resume: bool = False, show_progress: bool = True) -> Path:
    """Train a student. Returns the file with its averaged weights; raises as `train.loop.fit` does."""
    make_job = decoupled_job if recipe.method == "decoupled" else mask_job
    return fit(recipe, lambda: make_job(recipe), resume=resume, show_progress=show_progress)
