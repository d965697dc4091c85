"""Runs of `mobilesam train` that take a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mobilesam.recipe import from_dict
from mobilesam.train.config import TrainRecipe
from mobilesam.train.loop import fit
from mobilesam.train.run_config import PhaseConfig
from mobilesam.train.supervised import supervised_job


def train(recipe: TrainRecipe, *, resume: bool = False) -> Path:
    return fit(recipe, lambda: supervised_job(recipe), resume=resume, show_progress=False)


def recipe(data: Path, output: Path, steps: int = 9) -> TrainRecipe:
    return from_dict(
        TrainRecipe,
        {
            "model": "tiny",
            "data": {"paths": [str(data)], "masks_per_photo": 2},
            "prompts": {"round_weights": [0.5, 0.5]},
            "optim": {"warmup_steps": 2, "lr": 1e-3},
            "run": {
                "output": str(output),
                "steps": steps,
                "batch_size": 4,
                "workers": 0,
                "accelerator": "cpu",
                "checkpoint_every": 3,
                "log_every": 2,
                "report": False,
            },
        },
    )


def phased(plain: TrainRecipe) -> TrainRecipe:
    """Two phases with sides of their own; a kill after step 7 of 9 falls into the second."""
    phases = (PhaseConfig(until=0.5, sides=(64,)), PhaseConfig(sides=(64, 256), object_crop_probability=0.5))
    return replace(plain, model="tiny_lite", phases=phases)
