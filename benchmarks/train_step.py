"""Photos per second of a training step on a CPU: what its parts and its processes cost.

    python -m benchmarks.train_step attention [--steps 6] [--batch 8] [--side 384]
    python -m benchmarks.train_step processes [--steps 6] [--batch 8] [--side 384]
    python -m benchmarks.train_step precisions [--steps 6] [--batch 8] [--side 384]

`attention` steps the same network with the decoder's attention written out and with torch's fused kernel, in turn; see
docs/decisions/0001-attention-written-out.md. `processes` steps it in one process of all threads, and in as many
processes of one thread, each with its share of the batch and gradients averaged by gloo, as `run.devices = "auto"`
does. On a machine that does other work too, threads that wait for each other lose the most. `precisions` steps it in
bfloat16 and in float32, in turn: on a processor without bfloat16, training is in float32 whatever the recipe says.
Random photos, one round, four prompts per photo, bf16 autocast where the processor has it, as in
recipes/embedded.toml; medians and their ratio.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.common import make_parser, parse
from mobilesam import processor
from mobilesam.model import layers, transformer
from mobilesam.model.bfloat16 import has_bfloat16
from mobilesam.model.config import EMBEDDED
from mobilesam.model.sam import Sam
from mobilesam.train.config import TrainRecipe
from mobilesam.train.interactive import Draws
from mobilesam.train.supervised import SupervisedStep

ATTENTIONS: dict[str, Callable[..., Tensor]] = {
    "written out": layers.attention,
    "fused": F.scaled_dot_product_attention,
}
WARM_UP = 2  # steps


def make_step() -> SupervisedStep:
    torch.manual_seed(0)
    model = Sam(EMBEDDED).train()
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return SupervisedStep(model, TrainRecipe())


def time_step(step: nn.Module, batch: int, side: int, seed: int, *, in_bfloat16: bool | None = None) -> float:
    """Seconds of one forward and backward, in bfloat16 where training is."""
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    masks = torch.zeros(batch, 4, side, side, dtype=torch.bool)
    masks[:, :, side // 4 : side // 2, side // 4 : side // 2] = True
    draws = Draws(torch.Generator().manual_seed(seed), rounds=1)
    step.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16() if in_bfloat16 is None else in_bfloat16):
        result = step({"image": images, "masks": masks}, draws)
    result.loss.backward()
    return time.perf_counter() - start


def attention(steps: int, batch: int, side: int) -> dict[str, list[float]]:
    step = make_step()
    seconds: dict[str, list[float]] = {name: [] for name in ATTENTIONS}
    for number in range(steps + WARM_UP):
        for name, function in ATTENTIONS.items():
            transformer.attention = function
            seconds[name].append(time_step(step, batch, side, number))
    return {name: values[WARM_UP:] for name, values in seconds.items()}


def processes(steps: int, batch: int, side: int) -> dict[str, list[float]]:
    threads = torch.get_num_threads()
    name = f"{threads} processes"
    with tempfile.TemporaryDirectory() as folder:
        spawn(one_process, (threads, steps, batch, side, folder), nprocs=threads)  # type: ignore[no-untyped-call]
        together = torch.load(Path(folder) / "seconds.pt", weights_only=True)
    step = make_step()
    one = [time_step(step, batch, side, number) for number in range(steps + WARM_UP)][WARM_UP:]
    return {f"1 process, {threads} threads": one, name: together}


def one_process(rank: int, count: int, steps: int, batch: int, side: int, folder: str) -> None:
    """One of several; the first writes down its times, which are those of all since they wait for each other."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1×1 convolutions, whose layout means nothing
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count)
    step = DistributedDataParallel(make_step())
    seconds = [time_step(step, batch // count, side, number) for number in range(steps + WARM_UP)]
    if rank == 0:
        torch.save(seconds[WARM_UP:], Path(folder) / "seconds.pt")
    torch.distributed.destroy_process_group()


def precisions(steps: int, batch: int, side: int) -> dict[str, list[float]]:
    step = make_step()
    seconds: dict[str, list[float]] = {"bfloat16": [], "float32": []}
    for number in range(steps + WARM_UP):
        for name, values in seconds.items():
            values.append(time_step(step, batch, side, number, in_bfloat16=name == "bfloat16"))
    return {name: values[WARM_UP:] for name, values in seconds.items()}


MEASURES = {"attention": attention, "processes": processes, "precisions": precisions}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("what", nargs="+", choices=tuple(MEASURES))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=384)
    arguments = parse(parser, lambda _: (*MEASURES, "--steps", "1", "--batch", "2", "--side", "64"))

    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    where = f"{processor.describe()}, {os.cpu_count()} cores, {versions}"
    print(f"{where}; {arguments.batch} photos of {arguments.side} px")
    for what in arguments.what:
        report(MEASURES[what](arguments.steps, arguments.batch, arguments.side), arguments.batch)


def report(seconds: dict[str, list[float]], batch: int) -> None:
    """The rates of two ways, and their ratio."""
    for name, values in seconds.items():
        print(f"{name:<22} {batch / statistics.median(values):.2f} photos/s")
    first, second = (statistics.median(values) for values in seconds.values())
    print(f"{'ratio':<22} {first / second:.2f}")


if __name__ == "__main__":
    main()
