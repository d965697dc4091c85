"""The training loop: Fabric for devices and precision, checkpoints that lose nothing, logs people can read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mobilesam.errors import ModelError, SettingsError
from mobilesam.model import checkpoint
from mobilesam.model.config import CONFIGS
from mobilesam.model.sam import Sam
from mobilesam.train import state
from mobilesam.train.config import TrainRecipe
from mobilesam.train.data import MaskPhotos, make_loader
from mobilesam.train.optim import Ema, build_optimizer, learning_rate
from mobilesam.train.supervised import StepResult, SupervisedStep


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
        DataError: a shard cannot be read.
        ModelError: a checkpoint does not load, or the loss is no longer a number.
    """
    run, output = recipe.run, Path(recipe.run.output)
    state.check_output(output, resume)
    fabric = launch(recipe)
    trained, module = prepare(recipe, fabric)
    start = state.restore(output, trained) if resume else 0
    dataset = MaskPhotos(recipe.data, trained.model.config.image_size, run.seed)
    loader = make_loader(dataset, run, start, fabric.global_rank, fabric.world_size)

    if fabric.is_global_zero:
        output.mkdir(parents=True, exist_ok=True)
        state.describe(output, recipe, dataset.num_photos)
    trained.model.train()
    with Log(output, recipe, start, fabric, show_progress) as log:
        for step, batch in enumerate(loader, start):
            result = optimise(fabric, module, trained, recipe, batch, step)
            log.step(step + 1, result)
            is_due = (step + 1) % run.checkpoint_every == 0 or step + 1 == run.steps
            if is_due and fabric.is_global_zero:
                state.save(output, trained, recipe, step + 1)
    return output / state.WEIGHTS_FILE


def launch(recipe: TrainRecipe) -> Fabric:
    """Start the processes that the recipe asks for."""
    run = recipe.run
    fabric = Fabric(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.num_nodes,
        precision=run.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def prepare(recipe: TrainRecipe, fabric: Fabric) -> tuple[state.Trained, nn.Module]:
    """Network, optimizer and average as they are before the first step, the same in every process; and the step."""
    torch.manual_seed(recipe.run.seed)
    model = build_model(recipe)
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module, optimizer = fabric.setup(SupervisedStep(model, recipe), build_optimizer(model, recipe.optim))
    # The average is taken of the network where `setup` has put it.
    return state.Trained(model, optimizer, Ema(model, recipe.optim.ema_decay)), module


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
    return Sam(CONFIGS[recipe.model])


def optimise(
    fabric: Fabric, module: nn.Module, trained: state.Trained, recipe: TrainRecipe, batch: dict[str, Any], step: int
) -> StepResult:
    """One step: prompts, loss, gradient, weights, average.

    Raises:
        ModelError: the loss is no longer a number.
    """
    for group in trained.optimizer.param_groups:
        group["lr"] = learning_rate(step, recipe.run.steps, recipe.optim)
    # Every draw hangs on (seed, step, rank) alone, so that nothing random has to be saved.
    seed = (recipe.run.seed * 1_000_003 + step) * 1024 + fabric.global_rank
    generator = torch.Generator(fabric.device).manual_seed(seed)
    rounds = draw_rounds(recipe.prompts.round_weights, recipe.run.seed, step)
    images, masks = fabric.to_device((batch["image"], batch["masks"]))
    result: StepResult = module(images, masks, rounds, generator)
    if not torch.isfinite(result.loss):
        raise ModelError(f"the loss became {result.loss.item()} at step {step}; lower optim.lr, or use 32-true")
    fabric.backward(result.loss)
    fabric.clip_gradients(module, trained.optimizer, max_norm=recipe.optim.clip_norm)
    trained.optimizer.step()
    trained.optimizer.zero_grad(set_to_none=True)
    trained.ema.update(trained.model, step)
    return result


def draw_rounds(weights: tuple[float, ...], seed: int, step: int) -> int:
    """How many rounds this step has: the same for every process."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return int(torch.multinomial(torch.tensor(weights), 1, generator=generator).item()) + 1


@dataclass
class Clock:
    """Photos per second since it was last asked."""

    step: int
    time: float

    def lap(self, step: int, photos_per_step: int) -> float:
        """Photos per second from the last lap to `step`."""
        now = time.perf_counter()
        speed = (step - self.step) * photos_per_step / (now - self.time)
        self.step, self.time = step, now
        return speed


class Log:
    """A progress bar and TensorBoard curves, in the first process; silent in the others."""

    def __init__(self, output: Path, recipe: TrainRecipe, start: int, fabric: Fabric, show_progress: bool) -> None:
        self.recipe = recipe
        self.photos_per_step = recipe.run.batch_size * fabric.world_size
        is_main = fabric.is_global_zero
        self.writer = SummaryWriter(str(output / state.LOG_FOLDER), purge_step=start) if is_main else None
        self.bar = tqdm(total=recipe.run.steps, initial=start, unit="step", disable=not (show_progress and is_main))
        self.clock = Clock(start, time.perf_counter())

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def step(self, done: int, result: StepResult) -> None:
        """Count a step; now and then write its numbers down."""
        run = self.recipe.run
        self.bar.update()
        if self.writer is None or (done % run.log_every and done != run.steps):
            return
        numbers = {
            "loss": result.loss.item(),
            "iou": result.iou.item(),
            "photos_per_second": self.clock.lap(done, self.photos_per_step),
            "lr": learning_rate(done - 1, run.steps, self.recipe.optim),
        }
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, done)
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in numbers.items()})
