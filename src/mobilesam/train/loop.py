"""The training loop: Lightning Fabric for devices and precision, resumable checkpoints, and a log.

It does not depend on what is learnt: a `Job` brings the network, the step and the photos.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import Dataset

from mobilesam import processes
from mobilesam.data.photo import Problem
from mobilesam.errors import ModelError
from mobilesam.model.sam import Sam
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.train import devices, left_out, memory, state
from mobilesam.train.build import to_training_mode
from mobilesam.train.config import Recipe
from mobilesam.train.data import make_loader
from mobilesam.train.half import keep_bfloat16
from mobilesam.train.interactive import Draws, StepResult
from mobilesam.train.left_out import LeftOut
from mobilesam.train.log import Log
from mobilesam.train.optim import Ema, Guard, build_optimizer, learning_rate, set_rate
from mobilesam.train.report import write_report
from mobilesam.train.resident import open_resident
from mobilesam.train.run_config import PhaseConfig
from mobilesam.train.schedule import Schedule, Stopwatch, check_length
from mobilesam.train.validation import Validation
from mobilesam.weights import RUN_WEIGHTS


@dataclass(frozen=True)
class Job:
    """Network, training step, photos and validation of a recipe, before they are placed on devices."""

    model: Sam
    """The network that is trained and saved."""
    step: nn.Module
    """Module that contains the model and computes (batch, draws) → StepResult."""
    dataset: Dataset[Any]
    """Data set whose items depend on the index or `Ask` alone, so that runs are reproducible; each has a `name`."""
    data: str
    """One line about the photos, for the log."""
    validate: Validation | None
    phases: tuple[PhaseConfig, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Photos that the survey skipped because something is wrong with them."""


def fit(
    recipe: Recipe,
    make_job: Callable[[], Job],
    *,
    outputs: Outputs = DEFAULT,
    resume: bool = False,
    show_progress: bool = True,
) -> Path:
    """Train by a recipe until the run is complete.

    Args:
        recipe: how to step, for how long.
        make_job: builds the network, the step and the photos; called once the processes run. Where a CPU gets several
            of them it must be picklable: a function or a `functools.partial`, no closure.
        outputs: the rule for what may be replaced in `recipe.run.output`.
        resume: continue from the last checkpoint in `recipe.run.output`; without it an existing run is refused.
        show_progress: a progress bar with losses and photos/s.

    Returns:
        The file with the averaged weights.

    Raises:
        OutputError: a file of somebody else, or an input, would be replaced.
        SettingsError: the output folder holds a run and `resume` is False, nothing to resume, or no length of the run.
        DataError: a shard cannot be read.
        OutOfMemoryError: the batches are too large for the device or the machine.
        ModelError: a checkpoint does not load, or the loss is NaN or infinite.
    """
    check_length(recipe.run)
    output = Path(recipe.run.output)
    has_checkpoint = state.begin(output, resume, outputs)
    left_out.begin(output, is_resumed=has_checkpoint)
    devices.start(recipe, partial(train, recipe, make_job, has_checkpoint, show_progress))
    return output / RUN_WEIGHTS


def train(
    recipe: Recipe, make_job: Callable[[], Job], has_checkpoint: bool, show_progress: bool, fabric: Fabric
) -> None:
    """Train in one process of a run."""
    with memory.explained(recipe.run):
        train_to_end(recipe, make_job, has_checkpoint, show_progress, fabric)


def train_to_end(
    recipe: Recipe, make_job: Callable[[], Job], has_checkpoint: bool, show_progress: bool, fabric: Fabric
) -> None:
    """Prepare network and photos, then take steps until the run is complete."""
    run, output = recipe.run, Path(recipe.run.output)
    precision = devices.precision_here(run.precision, on_cpu=fabric.device.type == "cpu")
    torch.manual_seed(run.seed)
    job = make_job()
    trained, module = prepare(job, recipe, fabric)
    done = state.restore(output, trained) if has_checkpoint else 0
    schedule = Schedule(recipe, job.phases, job.model.config.image_size, trained.clock, done)
    loader, where = open_resident(job.dataset, run, schedule, done, fabric)
    if loader is None:
        on_gpu = fabric.device.type == "cuda"
        place = (fabric.global_rank, fabric.world_size)
        loader = make_loader(job.dataset, run, schedule, done, *place, pin_memory=on_gpu)
    runner = Runner(fabric, module, trained, recipe, schedule)

    if fabric.is_global_zero:
        state.describe(output, recipe, job.data, where, precision, fabric.device)
        runner.left_out.survey(job.problems)
    to_training_mode(trained.model, freeze_batch_norm=recipe.optim.freeze_batch_norm)
    # Several processes would have to agree on the step they end after: there SIGTERM ends them as a kill does.
    sigterm = Event()
    noticing = processes.on_sigterm(sigterm.set) if fabric.world_size == 1 else nullcontext()
    with Log(output, recipe, done, schedule, fabric, show_progress) as log, noticing:
        log.say(job.data)
        if where:
            log.say(where)
        if precision != run.precision:
            log.say("torch has no fast bfloat16 on this processor; training in float32")
        if done == 0:
            look(log, job, trained, 0)
        batches = iter(loader)
        while not schedule.is_over:
            trained.clock.resume()
            result, rate = runner.step(batches, done)
            done += 1
            if is_waited_for(recipe, done):
                # GPUs work asynchronously. Reading the result waits for the step to finish, so that its time is counted
                # before the clock stops.
                result.loss.item()
            trained.clock.step_ended()
            schedule.advance(done, fabric)
            log.step(done, result, rate)
            if log.is_due(done):
                runner.check(result, done)
            if schedule.is_over or done % recipe.validation.every == 0:
                look(log, job, trained, done)
            is_asked_to_end = sigterm.is_set()
            if (schedule.is_over or is_asked_to_end or done % run.checkpoint_every == 0) and fabric.is_global_zero:
                state.save(output, trained, recipe, done)
            if is_asked_to_end and not schedule.is_over:
                log.say(f"ended by SIGTERM after {done} steps; it goes on with --resume")
                sys.exit(processes.TERMINATED)
        if fabric.is_global_zero and run.report:
            write_report(output)


def prepare(job: Job, recipe: Recipe, fabric: Fabric) -> tuple[state.Trained, nn.Module]:
    """Set up optimizer, weight average and training step, the same in every process."""
    on_gpu = fabric.device.type == "cuda"
    if not on_gpu:
        # Convolutions on a CPU are faster with the channels last. On a GPU cuDNN's depthwise ones in bf16 are many
        # times slower so: on an H100 25 steps took 3 s as they are, and did not end in 50 s with the channels last.
        # torch.backends.cudnn.benchmark stays off, too: it would try those kernels anew for every side.
        job.model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    elif recipe.run.precision == "bf16-mixed":
        torch.set_float32_matmul_precision("high")
        keep_bfloat16(job.model)
    fused = is_guarded(fabric.device, recipe)
    module, optimizer = fabric.setup(job.step, build_optimizer(job.model, recipe.optim, fused=fused))
    # The average is taken of the network where `setup` has put it.
    return state.Trained(job.model, optimizer, Ema(job.model, recipe.optim.ema_decay), Stopwatch()), module


def is_waited_for(recipe: Recipe, done: int) -> bool:
    """Whether a log line, a validation or a checkpoint follows step `done`; they all wait for the device."""
    run = recipe.run
    everies = (run.log_every, recipe.validation.every, run.checkpoint_every)
    return done == run.steps or any(done % every == 0 for every in everies)


def is_guarded(device: torch.device, recipe: Recipe) -> bool:
    """Whether a fused optimizer skips steps whose gradient is NaN or infinite.

    On a CPU they raise at once. With float16 Fabric's own scaler leaves them out, and its clipping refuses fused ones.
    """
    return device.type == "cuda" and recipe.run.precision != "16-mixed"


def look(log: Log, job: Job, trained: state.Trained, done: int) -> None:
    """Validate the averaged network on the held-out photos, in the first process only."""
    if log.is_main and job.validate is not None:
        log.look(done, job.validate(state.averaged(trained)))


class Runner:
    """Executes optimizer steps.

    Args:
        fabric: devices, precision, processes.
        module: the job's step, as Fabric has set it up.
        trained: what changes.
        recipe: how.
        schedule: how far the run is.
    """

    def __init__(
        self, fabric: Fabric, module: nn.Module, trained: state.Trained, recipe: Recipe, schedule: Schedule
    ) -> None:
        self.fabric, self.module, self.trained = fabric, module, trained
        self.recipe, self.schedule = recipe, schedule
        self.names: list[str] = []  # of the photos of the last step
        self.left_out = LeftOut(Path(recipe.run.output))
        optimizer = getattr(trained.optimizer, "optimizer", trained.optimizer)
        self.guard = Guard(optimizer, fabric.device) if is_guarded(fabric.device, recipe) else None

    def step(self, batches: Iterator[dict[str, Any]], done: int) -> tuple[StepResult, float]:
        """Take one optimizer step and update the weight average.

        Returns:
            The last forward's result, and the learning rate.

        Raises:
            ModelError: the loss or its gradient is NaN or infinite; names the step and the photos. On a GPU such a
                step is left out, and `check` looks now and then.
        """
        rate = learning_rate(done, self.schedule.progress, self.recipe.optim)
        set_rate(self.trained.optimizer, rate)
        result = self.add_gradients(batches, done)
        self.clip(done)
        self.trained.optimizer.step()
        self.trained.optimizer.zero_grad(set_to_none=True)
        self.trained.ema.update(done)
        return result, rate

    def add_gradients(self, batches: Iterator[dict[str, Any]], done: int) -> StepResult:
        """Run the forward and backward passes of one step, which accumulate the gradient."""
        fabric, count = self.fabric, self.recipe.run.accumulate
        self.names = []
        for i in range(count):
            batch = next(batches)
            if i == 0:
                self.trained.clock.data_arrived()
            self.names += batch.pop("name")
            self.left_out.add(batch.pop("left_out", ()), done)
            draws = make_draws(self.recipe.run.seed, done * count + i, fabric, self.schedule)
            waits = nullcontext() if i + 1 == count else fabric.no_backward_sync(self.module)  # type: ignore[arg-type]
            with waits:
                result: StepResult = self.module(fabric.to_device(batch), draws)
                if fabric.device.type == "cpu" and not torch.isfinite(result.loss):
                    raise ModelError(trouble("loss", done, self.names))
                fabric.backward(result.loss / count)
        return result

    def clip(self, done: int) -> None:
        """Clip the gradient's norm; on a CPU, refuse a gradient that is NaN or infinite."""
        norm = self.fabric.clip_gradients(
            self.module, self.trained.optimizer, max_norm=self.recipe.optim.clip_norm, error_if_nonfinite=False
        )
        assert norm is not None
        if self.guard is not None:
            self.guard.watch(norm)
        elif self.fabric.device.type == "cpu" and not torch.isfinite(norm):
            raise ModelError(trouble("gradient", done, self.names))

    def check(self, result: StepResult, done: int) -> None:
        """Check that recent steps were not all skipped; called only where the device is waited for anyway.

        Raises:
            ModelError: every step since the last look was left out; without a guard, the loss is NaN or infinite.
        """
        if self.guard is not None:
            # A single bad loss only skips its step. Gradients are shared, so all processes decide the same.
            has_failed = self.guard.num_left_out() >= self.recipe.run.log_every
        else:
            has_failed = not torch.isfinite(result.loss)
        if has_failed:
            raise ModelError(trouble("loss or its gradient", done - 1, self.names))


def make_draws(seed: int, number: int, fabric: Fabric, schedule: Schedule) -> Draws:
    """Random numbers of forward pass `number`; they depend only on (seed, number, process), so nothing is saved."""
    base = seed * 1_000_003 + number
    own = torch.Generator(fabric.device).manual_seed((base * 1024 + fabric.global_rank) % 2**63)  # which torch takes
    return Draws(own, schedule.rounds(number))


def trouble(what: str, step: int, names: list[str]) -> str:
    """The error message for a NaN or infinite loss or gradient."""
    return (
        f"the {what} is NaN or infinite at step {step}, photos {', '.join(names)}; "
        "lower optim.lr, or set run.precision to 32-true; the last checkpoint is intact, go on from it with --resume"
    )
