"""The training loop: Fabric for devices and precision, checkpoints that lose nothing, logs people can read."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mobilesam.errors import ModelError, SettingsError
from mobilesam.files import replacing
from mobilesam.model import checkpoint
from mobilesam.model.config import CONFIGS, SamConfig
from mobilesam.model.sam import Sam
from mobilesam.train.config import OptimConfig, TrainRecipe
from mobilesam.train.data import MaskPhotos, make_loader
from mobilesam.train.supervised import SupervisedStep

STATE_FILE = "state.pt"
WEIGHTS_FILE = "weights.safetensors"


class Ema:
    """An exponential moving average of a network's weights and statistics.

    The decay grows from 0 to its final value, so that a short run is not dominated by its first steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Fold the weights after `step` (0, 1, 2 ...) in."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """Linear warm-up, then half a cosine down to `min_lr_ratio`."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def build_model(recipe: TrainRecipe) -> Sam:
    """A fresh network of the recipe's size, or the checkpoint it starts from.

    Raises:
        SettingsError: the size has no such name.
        ModelError: the checkpoint does not load.
    """
    if recipe.start_from:
        return checkpoint.load(recipe.start_from)
    if recipe.model not in CONFIGS:
        raise SettingsError(f"unknown model '{recipe.model}'; known: {', '.join(CONFIGS)}")
    config: SamConfig = CONFIGS[recipe.model]
    return Sam(config)


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW; norms, biases, tokens and position tables are not decayed."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_table = "embed" in name or "token" in name or "attention_biases" in name or "rel_pos" in name
        (free if parameter.ndim < 2 or is_table else decayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)


def train(recipe: TrainRecipe, *, resume: bool = False, show_progress: bool = True) -> Path:
    """Run a recipe to its end.

    Args:
        recipe: what to train, on what, for how long.
        resume: go on from the last checkpoint in `recipe.run.output`; without it an existing run is refused.
        show_progress: a progress bar with loss, IoU and photos/s.

    Returns:
        The file with the averaged weights.

    Raises:
        SettingsError: the output folder holds a run and `resume` is False, or nothing to resume.
        DataError, ModelError: data or checkpoint cannot be read.
    """
    run = recipe.run
    output = Path(run.output)
    check_output(output, resume)
    fabric = Fabric(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.num_nodes,
        precision=run.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    torch.manual_seed(run.seed)
    model = build_model(recipe)
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, recipe.optim)
    step_module, optimizer = fabric.setup(SupervisedStep(model, recipe), optimizer)
    ema = Ema(model, recipe.optim.ema_decay)
    start = restore(output / STATE_FILE, recipe, model, optimizer, ema) if resume else 0
    dataset = MaskPhotos(recipe.data, model.config.image_size, run.seed)
    loader = make_loader(dataset, run, start, fabric.global_rank, fabric.world_size)

    is_main = fabric.global_rank == 0
    if is_main:
        output.mkdir(parents=True, exist_ok=True)
        write_description(recipe, output, dataset.num_photos)
    writer = SummaryWriter(str(output / "logs"), purge_step=start) if is_main else None
    bar = tqdm(total=run.steps, initial=start, unit="step", disable=not (show_progress and is_main))
    clock, stamp = time.perf_counter(), start
    model.train()
    for step, batch in enumerate(loader, start):
        rate = learning_rate(step, run.steps, recipe.optim)
        for group in optimizer.param_groups:
            group["lr"] = rate
        # Every draw of a step hangs on (seed, step, rank) alone; nothing random has to be saved.
        seed = (run.seed * 1_000_003 + step) * 1024 + fabric.global_rank
        generator = torch.Generator(fabric.device).manual_seed(seed)
        rounds = draw_rounds(recipe.prompts.round_weights, run.seed, step)
        images, masks = fabric.to_device((batch["image"], batch["masks"]))
        result = step_module(images, masks, rounds, generator)
        if not torch.isfinite(result.loss):
            raise ModelError(f"the loss became {result.loss.item()} at step {step}; lower optim.lr or run.precision")
        fabric.backward(result.loss)
        fabric.clip_gradients(step_module, optimizer, max_norm=recipe.optim.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update(model, step)

        done = step + 1
        bar.update()
        if is_main and writer and (done % run.log_every == 0 or done == run.steps):
            speed = (done - stamp) * run.batch_size * fabric.world_size / (time.perf_counter() - clock)
            clock, stamp = time.perf_counter(), done
            log(writer, bar, done, rate, result.loss.item(), result.iou.item(), speed)
        if is_main and (done % run.checkpoint_every == 0 or done == run.steps):
            save_state(output, recipe, model, optimizer, ema, done)
    bar.close()
    if writer:
        writer.close()
    return output / WEIGHTS_FILE


def draw_rounds(weights: tuple[float, ...], seed: int, step: int) -> int:
    """How many rounds this step has: the same for every process."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return int(torch.multinomial(torch.tensor(weights), 1, generator=generator).item()) + 1


def log(writer: SummaryWriter, bar: Any, step: int, rate: float, loss: float, iou: float, speed: float) -> None:
    """One point per curve, and the same numbers beside the bar."""
    for name, value in (("loss", loss), ("iou", iou), ("lr", rate), ("photos_per_second", speed)):
        writer.add_scalar(name, value, step)
    bar.set_postfix(loss=f"{loss:.3f}", iou=f"{iou:.3f}", photos_s=f"{speed:.1f}")


def check_output(output: Path, resume: bool) -> None:
    """Refuse to overwrite a run, and to resume one that is not there."""
    exists = (output / STATE_FILE).exists()
    if exists and not resume:
        raise SettingsError(f"{output} already holds a run; add --resume to go on, or choose another run.output")
    if resume and not exists:
        raise SettingsError(f"nothing to resume: {output / STATE_FILE} does not exist")


def write_description(recipe: TrainRecipe, output: Path, num_photos: int) -> None:
    """The resolved recipe, and what it ran on."""
    packages = ("mobilesam", "torch", "lightning", "numpy", "opencv-python-headless")
    versions = {name: metadata.version(name) for name in packages if _installed(name)}
    text = {
        "recipe": dataclasses.asdict(recipe),
        "num_photos": num_photos,
        "versions": {"python": platform.python_version(), **versions},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
    }
    (output / "recipe.json").write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def save_state(
    output: Path, recipe: TrainRecipe, model: Sam, optimizer: torch.optim.Optimizer, ema: Ema, step: int
) -> None:
    """Everything needed to go on, and the averaged weights, each through a temporary name."""
    state = {
        "step": step,
        "model": model.state_dict(),
        "ema": ema.state,
        "optimizer": optimizer.state_dict(),
        "recipe": json.dumps(dataclasses.asdict(recipe)),
    }
    with replacing(output / STATE_FILE) as partial:
        torch.save(state, partial)
    averaged = Sam(model.config)
    averaged.load_state_dict(ema.state)
    checkpoint.save(averaged, output / WEIGHTS_FILE)


def restore(path: Path, recipe: TrainRecipe, model: Sam, optimizer: torch.optim.Optimizer, ema: Ema) -> int:
    """Load a state written by `save_state`; returns the step to go on from."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError, EOFError) as error:
        raise ModelError(f"{path}: not a checkpoint of this recipe's model ({error})") from error
    optimizer.load_state_dict(state["optimizer"])
    for key, value in state["ema"].items():
        ema.state[key].copy_(value)
    return int(state["step"])
