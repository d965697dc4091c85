"""The log of a run: a progress bar, TensorBoard, and `history.jsonl` for curves.

Only the first process writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mobilesam.errors import DataError
from mobilesam.files import save_picture, save_text
from mobilesam.outputs import ALL
from mobilesam.settings import fits
from mobilesam.text import parse_json
from mobilesam.train import memory
from mobilesam.train.config import Recipe
from mobilesam.train.interactive import StepResult
from mobilesam.train.schedule import Schedule
from mobilesam.train.state import LOG_FOLDER, PICTURES_FOLDER
from mobilesam.train.validation import Look

HISTORY_FILE = "history.jsonl"


class Log:
    """Writer of a run's numbers over time.

    Args:
        output: the run's folder.
        recipe: how often steps are logged.
        start: step that the run continues from.
        schedule: how far it is, and its clock.
        fabric: which process this is, of how many.
        show_progress: draw the bar.
    """

    def __init__(
        self, output: Path, recipe: Recipe, start: int, schedule: Schedule, fabric: Fabric, show_progress: bool
    ) -> None:
        run = recipe.run
        self.recipe, self.output, self.is_main = recipe, output, fabric.is_global_zero
        self.schedule, self.clock, self.device = schedule, schedule.clock, fabric.device
        self.photos_per_step = run.batch_size * run.accumulate
        if self.is_main:
            read_history(output, before=start)
        self.writer = SummaryWriter(str(output / LOG_FOLDER), purge_step=start) if self.is_main else None
        self.bar = tqdm(
            total=run.steps or None, initial=start, unit="step", disable=not (show_progress and self.is_main)
        )
        self.lap = (start, self.clock.wall, self.clock.waiting)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def say(self, text: str) -> None:
        """Print one line above the progress bar."""
        if not self.bar.disable:
            self.bar.write(text)

    def is_due(self, done: int) -> bool:
        """Whether the numbers of this step are logged."""
        return done % self.recipe.run.log_every == 0 or self.schedule.is_over

    def step(self, done: int, result: StepResult, rate: float) -> None:
        """Count a step; every `run.log_every` steps log its numbers and its learning rate."""
        self.bar.update()
        if not self.is_main or not self.is_due(done):
            return
        if not self.recipe.run.steps:
            self.bar.set_description(f"{self.schedule.progress:.0%}")
        step, wall, waiting = self.lap
        elapsed = max(1e-9, self.clock.wall - wall)
        self.lap = (done, self.clock.wall, self.clock.waiting)
        self.write(
            done,
            {
                "loss": result.loss.item(),
                **{name: value.item() for name, value in result.numbers.items()},
                "lr": rate,
                "photos_per_second": (done - step) * self.photos_per_step / elapsed,
                "waiting": (self.clock.waiting - waiting) / elapsed,
                **memory.peak(self.device),
            },
            prefix="",
        )

    def look(self, done: int, look: Look) -> None:
        """Log the numbers of a validation and save its picture."""
        self.write(done, look.numbers, prefix="validation/")
        if self.writer is None or not look.picture.size:
            return
        self.writer.add_image("validation", look.picture, done, dataformats="HWC")
        folder = self.output / PICTURES_FOLDER
        folder.mkdir(exist_ok=True)
        save_picture(look.picture, folder / f"{done:07}.jpg", quality=85, outputs=ALL)

    def write(self, done: int, numbers: dict[str, float], prefix: str) -> None:
        """Write numbers to TensorBoard, the progress bar and the history."""
        if self.writer is None:
            return
        named = {prefix + name: value for name, value in numbers.items()}
        for name, value in named.items():
            self.writer.add_scalar(name, value, done)
        if not prefix:
            self.bar.set_postfix({name: f"{value:.3g}" for name, value in numbers.items()})
        clock = self.clock
        times = {"seconds": clock.wall, "cpu_seconds": clock.cpu, "waiting_seconds": clock.waiting}
        line = {"step": done, "photos": done * self.photos_per_step, **times, **named}
        with (self.output / HISTORY_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_history(output: Path, before: int) -> list[dict[str, Any]]:
    """Read the history up to a step; other lines are removed from the file.

    These are lines from after the last checkpoint, and lines that a kill or a power cut damaged.
    """
    path = output / HISTORY_FILE
    if not path.exists():
        return []
    lines = []
    for text in path.read_bytes().splitlines():
        try:
            line = parse_json(text)
        except DataError:  # damaged, or incomplete: the process was killed while writing it
            continue
        if fits(line, dict[str, float]) and "step" in line and line["step"] <= before:
            lines.append(line)
    save_text("".join(json.dumps(line) + "\n" for line in lines), path, ALL)
    return lines
