"""Runs of `mobilesam distill` that take a second."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mobilesam.data.store import find_stores
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.embed import EmbedJob, begin, plan
from mobilesam.distill.run import distill
from mobilesam.distill.teacher import load_teacher
from mobilesam.model import checkpoint
from mobilesam.shards.worker import run_worker


def run(recipe: DistillRecipe, *, resume: bool = False) -> dict[str, torch.Tensor]:
    return checkpoint.load(distill(recipe, resume=resume, show_progress=False)).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def history(recipe: DistillRecipe) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(recipe.run.output) / "history.jsonl").read_text().splitlines()]


def embed_here(recipe: DistillRecipe, results: str = "") -> EmbedJob:
    """`embed` by a worker in this process, which saves the start of another one."""
    job = plan(recipe, load_teacher(recipe.teacher), results)
    run_worker(job.folder, begin, threads=None)
    return job


def store_bytes(folder: Path) -> dict[str, bytes]:
    """The stores of a run."""
    return {path.name: path.read_bytes() for path in find_stores(folder)}
