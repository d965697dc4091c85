"""The schedule of a run: its progress, and the phase's input side, crops and prompt rounds for each batch.

A run is measured in steps or in minutes. In steps, all of it depends on (seed, number of the batch) alone, so a
resumed run repeats what it would have done. In minutes it depends on the clock too, which the checkpoint keeps.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from lightning.fabric import Fabric

from mobilesam.errors import SettingsError
from mobilesam.train.config import Recipe
from mobilesam.train.run_config import PhaseConfig, RunConfig


class Ask(NamedTuple):
    """Request to the data set: photo `number`, prepared for a batch of this input side."""

    number: int
    side: int
    """Input side in pixels."""
    object_crop_probability: float | None = None
    """Probability of a crop around an object; None for the recipe's."""


class Stopwatch:
    """Stopwatch of a run: seconds of training, of waiting for data, and of this process's CPU.

    Time is counted from step to step: looks and checkpoints lie between two steps and do not count.
    """

    def __init__(self, wall: float = 0.0, cpu: float = 0.0, waiting: float = 0.0) -> None:
        self.wall, self.cpu, self.waiting = wall, cpu, waiting
        self.resume()

    def resume(self) -> None:
        """Start counting from now."""
        self.wall_mark, self.cpu_mark = time.perf_counter(), time.process_time()

    def data_arrived(self) -> None:
        """Count the time since the last mark as waiting for data."""
        self.waiting += time.perf_counter() - self.wall_mark

    def step_ended(self) -> None:
        """Count the time since the last mark as training."""
        self.wall += time.perf_counter() - self.wall_mark
        self.cpu += time.process_time() - self.cpu_mark
        self.resume()

    def read(self) -> tuple[float, float, float]:
        """The three counts; `Stopwatch(*counts)` continues from them."""
        return self.wall, self.cpu, self.waiting


class Schedule:
    """Progress of a run from 0 to 1, and the settings that depend on it.

    Args:
        recipe: how long, and how many rounds.
        phases: of the run; may be none.
        image_size: input side where no phase sets another.
        clock: of the training.
        done: steps that are behind the run.

    Raises:
        SettingsError: the recipe does not say how long to train.
    """

    def __init__(
        self, recipe: Recipe, phases: tuple[PhaseConfig, ...], image_size: int, clock: Stopwatch, done: int = 0
    ) -> None:
        run = recipe.run
        check_length(run)
        self.steps, self.seconds, self.accumulate = run.steps, 60 * run.minutes, run.accumulate
        self.seed, self.round_weights = run.seed, recipe.prompts.round_weights
        self.phases, self.image_size, self.clock = phases, image_size, clock
        self.progress = 0.0
        self.advance(done)

    def advance(self, done: int, fabric: Fabric | None = None) -> None:
        """Record that `done` steps are done. With several processes the clock of the first one counts for all."""
        if self.steps:
            self.progress = done / self.steps
            return
        progress = self.clock.wall / self.seconds
        if fabric is not None and fabric.world_size > 1:
            progress = fabric.broadcast(progress)
        self.progress = progress

    @property
    def is_over(self) -> bool:
        """Whether the run is complete."""
        return self.progress >= 1

    def ask(self, number: int) -> tuple[int, float | None]:
        """Choose the input side and the object crop probability of batch `number`.

        In a run limited by time, a batch belongs to the phase in which a data worker started it, a few steps earlier.
        """
        phase = self.phase(number)
        if phase is None or not phase.sides:
            return self.image_size, phase.object_crop_probability if phase else None
        rng = np.random.default_rng([self.seed, number, 0x51DE])
        return int(rng.choice(phase.sides, p=to_probabilities(phase.side_weights, len(phase.sides)))), (
            phase.object_crop_probability
        )

    def rounds(self, number: int) -> int:
        """How many rounds of prompts batch `number` gets: the same in every process."""
        phase = self.phase(number)
        weights = (phase.round_weights if phase else ()) or self.round_weights
        rng = np.random.default_rng([self.seed, number, 0x2064])
        return int(rng.choice(len(weights), p=to_probabilities(weights, len(weights)))) + 1

    def phase(self, number: int) -> PhaseConfig | None:
        """The phase that batch `number` belongs to."""
        progress = number / (self.steps * self.accumulate) if self.steps else self.progress
        return next(
            (phase for phase in self.phases if progress < phase.until), self.phases[-1] if self.phases else None
        )


def check_length(run: RunConfig) -> None:
    """Refuse a run whose length is not set, or set twice.

    Raises:
        SettingsError: neither steps nor minutes are set.
    """
    if not run.steps and not run.minutes:
        raise SettingsError("the recipe does not say how long to train: set run.steps or run.minutes")


def to_probabilities(weights: tuple[float, ...], count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Normalise weights to sum to 1; equal ones when none are given."""
    array = np.array(weights or (1.0,) * count, np.float64)
    return array / array.sum()
