"""The training loop: Fabric for devices and precision, checkpoints that lose nothing, logs people can read.

It knows nothing of what is learnt: a `Job` brings the network, the step and the photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import Dataset

from mobilesam.errors import ModelError
from mobilesam.model.sam import Sam
from mobilesam.train import state
from mobilesam.train.build import to_training_mode
from mobilesam.train.config import Recipe
from mobilesam.train.data import make_loader
from mobilesam.train.interactive import Draws, StepResult
from mobilesam.train.log import Log
from mobilesam.train.optim import Ema, build_optimizer, learning_rate
from mobilesam.train.report import write_report
from mobilesam.train.validation import Validation
from mobilesam.weights import RUN_WEIGHTS


@dataclass(frozen=True)
class Job:
    """What a recipe wants done, before it is placed on devices."""

    model: Sam
    """What is trained and saved."""
    step: nn.Module
    """Contains the model; (batch, draws) → StepResult."""
    dataset: Dataset[Any]
    """Item i is a function of i alone; each has a `name`."""
    data: str
    """One line about the photos, for the log."""
    validate: Validation | None


def fit(recipe: Recipe, make_job: Callable[[], Job], *, resume: bool = False, show_progress: bool = True) -> Path:
    """Run a recipe to its end.

    Args:
        recipe: how to step, for how long.
        make_job: builds the network, the step and the photos; called once the processes run.
        resume: go on from the last checkpoint in `recipe.run.output`; without it an existing run is refused.
        show_progress: a progress bar with losses and photos/s.

    Returns:
        The file with the averaged weights.

    Raises:
        SettingsError: the output folder holds a run and `resume` is False, or nothing to resume.
        DataError: a shard cannot be read.
        ModelError: a checkpoint does not load, or the loss is no longer a number.
    """
    run, output = recipe.run, Path(recipe.run.output)
    has_checkpoint = state.begin(output, resume)
    fabric = launch(recipe)
    torch.manual_seed(run.seed)
    job = make_job()
    trained, module = prepare(job, recipe, fabric)
    start = state.restore(output, trained) if has_checkpoint else 0
    loader = make_loader(job.dataset, run, start, fabric.global_rank, fabric.world_size)

    if fabric.is_global_zero:
        state.describe(output, recipe, job.data)
    to_training_mode(trained.model, freeze_batch_norm=recipe.optim.freeze_batch_norm)
    with Log(output, recipe, start, fabric, show_progress) as log:
        log.say(job.data)
        if start == 0:
            look(log, job, trained, 0)
        batches = iter(loader)
        for done in range(start + 1, run.steps + 1):
            log.clock.resume()
            result = optimise(fabric, module, trained, recipe, batches, done - 1, log)
            log.step(done, result)
            if done == run.steps or done % recipe.validation.every == 0:
                look(log, job, trained, done)
            if (done == run.steps or done % run.checkpoint_every == 0) and fabric.is_global_zero:
                state.save(output, trained, recipe, done)
        if fabric.is_global_zero and run.report:
            write_report(output)
    return output / RUN_WEIGHTS


def launch(recipe: Recipe) -> Fabric:
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


def prepare(job: Job, recipe: Recipe, fabric: Fabric) -> tuple[state.Trained, nn.Module]:
    """Optimizer and average as they are before the first step, the same in every process; and the step."""
    job.model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module, optimizer = fabric.setup(job.step, build_optimizer(job.model, recipe.optim))
    # The average is taken of the network where `setup` has put it.
    return state.Trained(job.model, optimizer, Ema(job.model, recipe.optim.ema_decay)), module


def look(log: Log, job: Job, trained: state.Trained, done: int) -> None:
    """Ask the averaged network about the held-out photos, in the first process."""
    if log.is_main and job.validate is not None:
        log.look(done, job.validate(state.averaged(trained)))


def optimise(
    fabric: Fabric,
    module: nn.Module,
    trained: state.Trained,
    recipe: Recipe,
    batches: Iterator[dict[str, Any]],
    step: int,
    log: Log,
) -> StepResult:
    """One step: photos, loss, gradient, weights, average. Returns the last forward's result.

    Raises:
        ModelError: the loss or its gradient is no longer a number; names the step and the photos.
    """
    for group in trained.optimizer.param_groups:
        group["lr"] = learning_rate(step, recipe.run.steps, recipe.optim)
    count = recipe.run.accumulate
    names: list[str] = []
    for i in range(count):
        batch = next(batches)
        if i == 0:
            log.clock.data_arrived()
        names += batch.pop("name")
        draws = make_draws(recipe.run.seed, step * count + i, fabric)
        waits = nullcontext() if i + 1 == count else fabric.no_backward_sync(module)  # type: ignore[arg-type]
        with waits:
            result: StepResult = module(fabric.to_device(batch), draws)
            if not torch.isfinite(result.loss):
                raise ModelError(trouble("loss", step, names))
            fabric.backward(result.loss / count)
    try:
        fabric.clip_gradients(module, trained.optimizer, max_norm=recipe.optim.clip_norm)
    except RuntimeError as error:
        raise ModelError(trouble("gradient", step, names)) from error
    trained.optimizer.step()
    trained.optimizer.zero_grad(set_to_none=True)
    trained.ema.update(trained.model, step)
    return result


def make_draws(seed: int, number: int, fabric: Fabric) -> Draws:
    """Random numbers of forward `number`: they hang on (seed, number, process) alone, so nothing has to be saved."""
    base = seed * 1_000_003 + number
    own = torch.Generator(fabric.device).manual_seed(base * 1024 + fabric.global_rank)
    return Draws(own, torch.Generator().manual_seed(base))


def trouble(what: str, step: int, names: list[str]) -> str:
    """What to say when numbers run away."""
    return (
        f"the {what} is no longer a number at step {step}, photos {', '.join(names)}; "
        "lower optim.lr, or set run.precision to 32-true; the last checkpoint is intact, go on from it with --resume"
    )
