"""Settings of a recipe for the course of a run: length and hardware, its phases, its validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobilesam.errors import SettingsError
from mobilesam.settings import (
    Count,
    CountOrZero,
    Fraction,
    PositiveOrZero,
    Probability,
    Seed,
    Settings,
    Side,
    Workers,
    WorkersOrZero,
)
from mobilesam.train.photo_config import check_weights

TrainPrecision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]
Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class RunConfig(Settings):
    """Length, hardware and output folder of a run. Exactly one of `steps` and `minutes` sets the length."""

    output: str = "runs/train"
    """Folder of the run."""
    steps: CountOrZero = 0
    """Optimizer steps; 0 if `minutes` sets the length."""
    minutes: PositiveOrZero = 0.0
    """Minutes of training, without validation and checkpoints; a resumed run counts on from where it was."""
    batch_size: Count = 16
    """Photos per forward pass, of all processes together."""
    accumulate: Count = 1
    """Forward passes whose gradients are averaged into one step, for larger batches than the memory holds."""
    seed: Seed = 0
    """Seed of all random numbers."""
    precision: TrainPrecision = "32-true"
    """As Lightning Fabric names it; "bf16-mixed" is faster on a GPU and on CPUs that compute in bfloat16; on
    others, training is in float32 instead."""
    accelerator: Accelerator = "auto"
    """The hardware to train on; "auto" is a GPU where there is one."""
    devices: Workers | Literal["auto"] = "auto"
    """Processes on this machine, one to a GPU; under torchrun as many as it has started. "auto" is one; on a CPU with
    frozen batch statistics (`optim.freeze_batch_norm`) it is one to a core, of one thread each, which is faster than
    one process of many threads. Statistics that are not frozen would be each process's own."""
    num_nodes: Count = 1
    """Machines; above 1 the command is started on each, by torchrun."""
    workers: WorkersOrZero = 1
    """Processes per machine that load photos, divided among its training processes, at least one for each; with 0 the
    training processes load photos themselves."""
    resident: bool | Literal["auto"] = "auto"
    """Whether all photos are kept in the device's memory and augmented there; "auto": on a GPU. Where they do not fit,
    they are streamed from disk."""
    resident_side: Count = 448
    """Long side in pixels of the photos kept in the device's memory."""
    log_every: Count = 20
    """Steps between two lines of the log."""
    checkpoint_every: Count = 250
    """Steps between two checkpoints."""
    report: bool = True
    """Write report.md and its curves at the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps and self.minutes:
            raise SettingsError(
                f"'steps' is {self.steps} and minutes is {self.minutes}, and both say how long; set one of them to 0"
            )

    def needs(self, name: str) -> str | None:
        """What a key lacks to have an effect."""
        return "resident = true" if name == "resident_side" and self.resident is False else None


@dataclass(frozen=True, kw_only=True)
class PhaseConfig(Settings):
    """A part of the run with its own input sides, crops and prompts."""

    until: Fraction = 1.0
    """The fraction of the run at which it ends."""
    sides: tuple[Side, ...] = ()
    """Input sides in pixels, one of which is drawn per batch; the model's own when empty."""
    side_weights: tuple[PositiveOrZero, ...] = ()
    """Weight of each side; equal when empty."""
    round_weights: tuple[PositiveOrZero, ...] = ()
    """As `prompts.round_weights`, which counts when empty."""
    object_crop_probability: Probability | None = None
    """As `data.object_crop_probability`, which counts when absent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side_weights and len(self.side_weights) != len(self.sides):
            raise SettingsError(
                f"'side_weights' must have one weight for each of the {len(self.sides)} sides, "
                f"found {len(self.side_weights)}"
            )
        check_weights("side_weights", self.side_weights)
        check_weights("round_weights", self.round_weights)

    @property
    def changes_photos(self) -> bool:
        """Whether the phase changes how photos are loaded (side or crops)."""
        return bool(self.sides) or self.object_crop_probability is not None


@dataclass(frozen=True, kw_only=True)
class ValidationConfig(Settings):
    """Validation during training: the same prompts on the same held-out photos, again and again."""

    photos: CountOrZero = 32
    """Number of photos to hold out from training, at most a tenth of all; 0 for none."""
    every: Count = 250
    """Steps between two validations."""
    masks_per_photo: Count = 2
    """Masks to prompt per photo."""
    pictures: CountOrZero = 4
    """Photos drawn with their masks at each validation."""
