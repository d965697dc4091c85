"""A recipe small enough to run in a second, and the store it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mobilesam.distill.config import DistillRecipe
from mobilesam.recipe import from_dict
from tests.helpers.s3 import store

__all__ = ["store"]

STUDENT = {
    "embed_dims": [8, 8, 8, 8],
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "window_sizes": [2, 2, 2, 2],
    "mlp_ratio": 2.0,
    "mbconv_expand_ratio": 2.0,
}


class Recipes:
    """Makes recipes on one shard and one teacher."""

    def __init__(self, shard: Path, teacher: Path, folder: Path) -> None:
        self.shard, self.teacher, self.folder = shard, teacher, folder

    def __call__(self, name: str = "run", method: str = "decoupled", **sections: Any) -> DistillRecipe:
        base: dict[str, Any] = {
            "method": method,
            "student": STUDENT,
            "teacher": {"checkpoint": str(self.teacher), "batch_size": 5},
            "store": {"path": str(self.folder / "store")},
            "data": {"paths": [str(self.shard)], "masks_per_photo": 2},
            "optim": {"lr": 5e-3, "warmup_steps": 2, "ema_decay": 0.9},
            "run": {
                "output": str(self.folder / name),
                "steps": 8,
                "batch_size": 4,
                "workers": 0,
                "accelerator": "cpu",
                "checkpoint_every": 3,
                "log_every": 2,
                "report": False,
            },
        }
        for section, values in sections.items():
            base[section] = {**base[section], **values} if isinstance(base.get(section), dict) else values
        return from_dict(DistillRecipe, base)


@pytest.fixture
def recipes(shard: Path, tiny_checkpoint: Path, tmp_path: Path) -> Recipes:
    return Recipes(shard, tiny_checkpoint, tmp_path)
