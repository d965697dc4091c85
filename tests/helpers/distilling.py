"""Runs of `mobilesam distill` that take a second."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.run import distill
from mobilesam.model import checkpoint


def run(recipe: DistillRecipe, *, resume: bool = False) -> dict[str, torch.Tensor]:
    return checkpoint.load(distill(recipe, resume=resume, show_progress=False)).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def history(recipe: DistillRecipe) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(recipe.run.output) / "history.jsonl").read_text().splitlines()]
