"""Several workers that write a teacher's embeddings, for an engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from mobilesam.data.layouts import expand
from mobilesam.data.store_format import SUFFIX
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.teacher import embed
from mobilesam.engines.claims import Pauses
from mobilesam.train.photos import data_patterns


@dataclass(frozen=True)
class EmbedCrew:
    """The workers of `mobilesam distill embed`, for an engine."""

    recipe: DistillRecipe

    def work(self, number: int, threads: int | None) -> None:
        """Write stores until no other worker holds one: what a dead worker held is taken over."""
        if threads is not None:
            torch.set_num_threads(threads)
        pauses = Pauses()
        while embed(self.recipe, show_progress=False, start=number).busy:
            time.sleep(pauses.next())

    def is_over(self) -> bool:
        """Whether every data set has its store."""
        folder = Path(self.recipe.store.path)
        return len(list(folder.glob(f"*{SUFFIX}"))) >= len(expand(data_patterns(self.recipe.data)))
