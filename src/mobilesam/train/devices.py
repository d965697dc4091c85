"""Starting a recipe in one process or several, and dividing CPU threads and workers among them.

Several processes on a CPU are started afresh ("spawn") and handed the work, so that it works the same from the command
line, from a script and from a test; unless torchrun has started them. On GPUs Fabric starts the command once more for
each.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from mobilesam import errors
from mobilesam.model.bfloat16 import has_bfloat16
from mobilesam.train.config import Recipe
from mobilesam.train.run_config import RunConfig, TrainPrecision

R = TypeVar("R")


def start(recipe: Recipe, work: Callable[[Fabric], R]) -> R:
    """Run `work` in every process that the recipe sets; returns the result of the first.

    Args:
        recipe: its `run` sets the hardware.
        work: must be picklable where a CPU gets several processes: a function or a `functools.partial`, no closure.

    Raises:
        SettingsError: the photos of a step cannot be shared equally.
        MobileSamError: whatever the work raises.
    """
    run = recipe.run
    if torch.distributed.is_torchelastic_launched():
        # torchrun has started the processes already. With another number, each might take itself for the only one.
        fabric = make_fabric(run, int(os.environ["LOCAL_WORLD_SIZE"]))
        fabric.launch()
        return work(fabric)
    if not is_on_cpu(run):
        fabric = make_fabric(run, 1 if run.devices == "auto" else int(run.devices))
        fabric.launch()
        return work(fabric)
    processes = count_processes(run, batch_statistics_are_frozen=recipe.optim.freeze_batch_norm)
    if processes * run.num_nodes == 1:
        fabric = make_fabric(run, processes)
        fabric.launch()
        return work(fabric)
    threads = max(1, torch.get_num_threads() // processes)
    strategy = DDPStrategy(start_method="spawn", process_group_backend="gloo", broadcast_buffers=False)
    try:
        return make_fabric(run, processes, strategy).launch(partial(work_with_threads, work, threads))
    except ProcessRaisedException as error:
        raise own_error(error) from None


def is_on_cpu(run: RunConfig) -> bool:
    """Whether the recipe runs on a CPU on this machine."""
    return Fabric(accelerator=run.accelerator, devices=1).device.type == "cpu"


def make_fabric(run: RunConfig, devices: int, strategy: DDPStrategy | str = "auto") -> Fabric:
    """Make Lightning Fabric as the recipe sets it."""
    return Fabric(
        accelerator=run.accelerator,
        devices=devices,
        num_nodes=run.num_nodes,
        precision=precision_here(run.precision, on_cpu=is_on_cpu(run)),
        strategy=strategy,
    )


def precision_here(precision: TrainPrecision, *, on_cpu: bool) -> TrainPrecision:
    """A recipe's precision, but float32 on a CPU that does not compute in bfloat16, where it is much slower.

    A checkpoint of "bf16-mixed" holds float32, so a run may go on with another processor.
    """
    return "32-true" if precision == "bf16-mixed" and on_cpu and not has_bfloat16() else precision


def count_processes(run: RunConfig, *, batch_statistics_are_frozen: bool) -> int:
    """Processes on a CPU.

    "auto" is as many as torch has threads, as far as they divide the batch; each then computes on one thread. Batch
    statistics that are not frozen would be those of a part of the batch: then it is one process, of all threads.
    """
    if run.devices != "auto":
        return int(run.devices)
    if not batch_statistics_are_frozen:
        return 1
    return max(n for n in range(1, torch.get_num_threads() + 1) if run.batch_size % n == 0)


def share_workers(run: RunConfig, processes: int) -> int:
    """Workers of one process of `processes` on all machines: its share of its machine's, at least one if there are."""
    return min(run.workers, max(1, run.workers // max(1, processes // run.num_nodes)))


def share(batch_size: int, processes: int) -> int:
    """Number of photos per forward pass for one process.

    Raises:
        SettingsError: they do not divide.
    """
    if batch_size % processes:
        raise errors.SettingsError(
            f"run.batch_size = {batch_size} cannot be shared by {processes} processes; choose a multiple of {processes}"
        )
    return batch_size // processes


def work_with_threads(work: Callable[[Fabric], R], threads: int, fabric: Fabric) -> R:
    """The life of one process of several."""
    end_with_parent()
    torch.set_num_threads(threads)
    # DDP warns of 1×1 convolutions in channels-last format, whose two layouts are the same bytes.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return work(fabric)


def end_with_parent(every: float = 0.5) -> None:
    """Make this process end when its parent process is killed.

    Otherwise it would continue, and write the checkpoints of a run that has been resumed meanwhile. Torch asks for a
    signal in this case, but what a shell runs in the background ignores that signal.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def own_error(error: ProcessRaisedException) -> Exception:
    """An error of this package that a process died of, as itself; any other with the process's traceback."""
    found = re.findall(r"^mobilesam\.errors\.(\w+): (.*)", str(error), re.MULTILINE | re.DOTALL)
    kind = getattr(errors, found[-1][0], None) if found else None
    if kind is None:
        return error
    message = found[-1][1].strip()
    return errors.MobileSamError(message) if kind is errors.MissingExtraError else kind(message)
