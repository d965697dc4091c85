"""The folder of a run: its checkpoint, its averaged weights, and a record of its settings.

state.pt              everything needed to resume
weights.safetensors   the averaged weights
recipe.json           the resolved recipe, versions, machine, precision
history.jsonl         numbers over time
left_out.jsonl        photos that could not be used; missing if there are none
report.md             curves and pictures, written at the end
logs/                 TensorBoard
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mobilesam import outputs, processor, temporaries
from mobilesam.errors import ModelError, SettingsError
from mobilesam.files import make_folder, replacing, save_json
from mobilesam.model import checkpoint
from mobilesam.model.sam import Sam
from mobilesam.model.torch_file import check_zip, unread
from mobilesam.recipe import from_dict
from mobilesam.train import lora
from mobilesam.train.config import Recipe
from mobilesam.train.learning_config import OptimConfig
from mobilesam.train.optim import Ema, build_optimizer
from mobilesam.train.schedule import Stopwatch
from mobilesam.weights import RUN_WEIGHTS

STATE_FILE = "state.pt"
LOG_FOLDER = "logs"
RECIPE_FILE = "recipe.json"
PICTURES_FOLDER = "pictures"
RUN_FILES = (STATE_FILE, RECIPE_FILE, RUN_WEIGHTS, "history.jsonl", "left_out.jsonl", "report.md", "curves.png")
"""What a run writes into its folder, besides pictures and TensorBoard's logs."""


@dataclass(frozen=True)
class Trained:
    """The state that a checkpoint must save. Random numbers are no part of it: they depend on the step alone."""

    model: Sam
    optimizer: torch.optim.Optimizer
    ema: Ema
    clock: Stopwatch


def begin(output: Path, resume: bool, rule: outputs.Outputs = outputs.DEFAULT) -> bool:
    """Create the run's folder; refuse to overwrite a run, or to resume one that does not exist.

    Args:
        output: the folder.
        resume: continue the run that is there.
        rule: what may be replaced: never an input of the run, and another's file only if the rule allows it.

    Returns:
        Whether there is a checkpoint to resume from. A run that was killed before its first one starts again.

    Raises:
        SettingsError: the run exists already, or there is none to resume.
        OutputError: the folder holds an input, or another's file, of a name that the run is going to write.
    """
    has_checkpoint = (output / STATE_FILE).exists()
    if has_checkpoint and not resume:
        raise SettingsError(f"{output} already holds a run; add --resume to go on, or choose another run.output")
    if resume and not output.is_dir():
        raise SettingsError(f"nothing to resume: {output} does not exist")
    make_folder(output)
    temporaries.sweep(output)
    # With --resume the user says that the folder is a run's, even if it was killed before its first checkpoint.
    if resume or is_begun(output):
        rule = dataclasses.replace(rule, overwrite=True)
    for file in (*(output / name for name in RUN_FILES), *(output / PICTURES_FOLDER).glob("*.jpg")):
        rule.check(file)
    return has_checkpoint


def is_begun(output: Path) -> bool:
    """Whether a folder has the recipe of a run, which is written before anything else."""
    try:
        record = json.loads((output / RECIPE_FILE).read_text(encoding="utf-8"))
        return {"recipe", "versions", "machine"} <= set(record)
    except (OSError, ValueError, TypeError):
        return False


def save(output: Path, trained: Trained, recipe: Recipe, step: int) -> None:
    """Write the state after `step` steps and the averaged weights, each through a temporary name."""
    state = {
        "step": step,
        "clock": trained.clock.read(),
        "model": trained.model.state_dict(),
        "ema": trained.ema.state,
        "optimizer": trained.optimizer.state_dict(),
        "recipe": json.dumps(dataclasses.asdict(recipe)),
    }
    # Weights first: after a kill between the two, the run resumes from the older state and writes both again. In the
    # other order, a kill after the last step would leave a finished run with the weights of an earlier checkpoint.
    checkpoint.save(averaged(trained), output / RUN_WEIGHTS, outputs=outputs.ALL)
    with replacing(output / STATE_FILE, outputs.ALL) as partial:
        torch.save(state, partial)


def averaged(trained: Trained) -> Sam:
    """The result of a run: the network with the averaged weights, adapters merged, in eval mode."""
    model = Sam(trained.model.config).to(next(trained.model.parameters()).device)
    model.load_state_dict(lora.merged_state(trained.model, trained.ema.state))
    return model.eval()


def restore(output: Path, trained: Trained) -> int:
    """Load the checkpoint that `save` wrote; returns the step to continue from.

    Raises:
        ModelError: the file is damaged, or of another model.
    """
    path = output / STATE_FILE
    check_zip(path)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        weights, optimizer, settings = state["model"], state["optimizer"], json.loads(state["recipe"])["optim"]
        step = int(state["step"])
        trained.model.load_state_dict(weights)
        restore_optimizer(trained, optimizer, settings)
        for key, value in state["ema"].items():
            trained.ema.state[key].copy_(value)
        clock = trained.clock
        clock.wall, clock.cpu, clock.waiting = state["clock"]
    except Exception as error:  # pickle, zip, torch and optimizers each raise exceptions of their own
        raise ModelError(f"{path}: not a checkpoint of this recipe's model: {unread(error)}") from error
    return step


def restore_optimizer(trained: Trained, saved: dict[str, Any], settings: dict[str, Any]) -> None:
    """Load only the moments of each parameter; learning rates, decay and kernel are those of the present recipe.

    Args:
        trained: whose optimizer.
        saved: its state dict as it was.
        settings: `optim` of the recipe then.

    Raises:
        ValueError: it is of other parameters.
    """
    # A state dict numbers parameters group by group, and another lr_scale makes other groups: the numbers can be
    # matched only through an optimizer that is built with the saved settings.
    before = build_optimizer(trained.model, from_dict(OptimConfig, settings))
    before.load_state_dict(saved)
    trained.optimizer.state.update(before.state)
    # Through the optimizer's own loading, which puts the step counts on the device that the kernel needs.
    trained.optimizer.load_state_dict(trained.optimizer.state_dict())


def describe(output: Path, recipe: Recipe, data: str, resident: str, precision: str, device: torch.device) -> None:
    """Write the resolved recipe, hardware, versions, precision, and a line each about the data and its place."""
    packages = ("mobilesam", "torch", "lightning", "numpy", "opencv-python-headless")
    record = {
        "recipe": dataclasses.asdict(recipe),
        "data": data,
        "resident": resident,
        "precision": precision,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "machine": f"{processor.describe()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu(device)}",
    }
    save_json(record, output / RECIPE_FILE, outputs.ALL, indent=2)


def gpu(device: torch.device) -> str:
    """The name of a GPU, to be added to the rest of the machine; nothing for a CPU."""
    return f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"
