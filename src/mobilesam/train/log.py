"""What a run writes down while it goes: a progress bar, TensorBoard, and `history.jsonl` for curves.

Only the first process writes. Time is counted from step to step: looks and checkpoints do not count as training.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mobilesam.files import replacing
from mobilesam.train.config import Recipe
from mobilesam.train.interactive import StepResult
from mobilesam.train.optim import learning_rate
from mobilesam.train.state import LOG_FOLDER
from mobilesam.train.validation import Look

HISTORY_FILE = "history.jsonl"
PICTURES_FOLDER = "pictures"


class Stopwatch:
    """Seconds of training, of waiting for data, and of this process's CPU, since the run began."""

    def __init__(self, wall: float = 0.0, cpu: float = 0.0, waiting: float = 0.0) -> None:
        self.wall, self.cpu, self.waiting = wall, cpu, waiting
        self.resume()

    def resume(self) -> None:
        """Count from now on."""
        self.wall_mark, self.cpu_mark = time.perf_counter(), time.process_time()

    def data_arrived(self) -> None:
        """What passed since the last mark was spent waiting."""
        self.waiting += time.perf_counter() - self.wall_mark

    def step_ended(self) -> None:
        """What passed since the last mark was training."""
        self.wall += time.perf_counter() - self.wall_mark
        self.cpu += time.process_time() - self.cpu_mark
        self.resume()


class Log:
    """Numbers over time.

    Args:
        output: the run's folder.
        recipe: its steps and how often they are logged.
        start: step the run goes on from.
        fabric: which process this is, of how many.
        show_progress: draw the bar.
    """

    def __init__(self, output: Path, recipe: Recipe, start: int, fabric: Fabric, show_progress: bool) -> None:
        run = recipe.run
        self.recipe, self.output, self.is_main = recipe, output, fabric.is_global_zero
        self.photos_per_step = run.batch_size * run.accumulate * fabric.world_size
        history = read_history(output, before=start) if self.is_main else []
        self.writer = SummaryWriter(str(output / LOG_FOLDER), purge_step=start) if self.is_main else None
        self.bar = tqdm(total=run.steps, initial=start, unit="step", disable=not (show_progress and self.is_main))
        last: dict[str, float] = next((line for line in reversed(history) if "cpu_seconds" in line), {})
        self.clock = Stopwatch(*(last.get(key, 0.0) for key in ("seconds", "cpu_seconds", "waiting_seconds")))
        self.lap = (start, self.clock.wall, self.clock.waiting)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def say(self, text: str) -> None:
        """One line above the bar."""
        if not self.bar.disable:
            self.bar.write(text)

    def step(self, done: int, result: StepResult) -> None:
        """Count a step; now and then write its numbers down."""
        self.clock.step_ended()
        self.bar.update()
        run = self.recipe.run
        if not self.is_main or (done % run.log_every and done != run.steps):
            return
        step, wall, waiting = self.lap
        elapsed = max(1e-9, self.clock.wall - wall)
        self.lap = (done, self.clock.wall, self.clock.waiting)
        self.write(
            done,
            {
                "loss": result.loss.item(),
                **{name: value.item() for name, value in result.numbers.items()},
                "lr": learning_rate(done - 1, run.steps, self.recipe.optim),
                "photos_per_second": (done - step) * self.photos_per_step / elapsed,
                "waiting": (self.clock.waiting - waiting) / elapsed,
            },
            prefix="",
        )

    def look(self, done: int, look: Look) -> None:
        """Write down what the validation found, with its picture."""
        from PIL import Image

        self.write(done, look.numbers, prefix="validation/")
        if self.writer is None or not look.picture.size:
            return
        self.writer.add_image("validation", look.picture, done, dataformats="HWC")
        folder = self.output / PICTURES_FOLDER
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{done:07}.jpg") as partial:
            Image.fromarray(look.picture).save(partial, quality=85)

    def write(self, done: int, numbers: dict[str, float], prefix: str) -> None:
        """To TensorBoard, the bar and the history."""
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
    """The lines up to a step; later ones, written between a checkpoint and a kill, are dropped from the file."""
    path = output / HISTORY_FILE
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # torn by a kill
            continue
        if line["step"] <= before:
            lines.append(line)
    with replacing(path) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return lines
