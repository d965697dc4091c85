"""Photos per second of a training step: the decoder's attention written out, against torch's fused kernel.

    python benchmarks/train_step.py [--steps 6] [--batch 16]

Both step the same network on the same random photos, in turn; medians and their ratio. One round, four prompts a
photo, bf16 autocast, as in recipes/embedded.toml. See docs/decisions/0001-attention-written-out.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilesam.model import layers, transformer
from mobilesam.model.config import EMBEDDED
from mobilesam.model.sam import Sam
from mobilesam.train.config import TrainRecipe
from mobilesam.train.supervised import SupervisedStep

ATTENTIONS: dict[str, Callable[..., Tensor]] = {
    "written out": layers.attention,
    "fused": F.scaled_dot_product_attention,
}


def time_step(module: SupervisedStep, attention: Callable[..., Tensor], batch: int, seed: int) -> float:
    """Seconds of one forward and backward."""
    transformer.attention = attention  # type: ignore[attr-defined]
    size = module.model.config.image_size
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    masks = torch.zeros(batch, 4, size, size, dtype=torch.bool)
    masks[:, :, size // 4 : size // 2, size // 4 : size // 2] = True
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        result = module(images, masks, 1, torch.Generator().manual_seed(seed))
    result.loss.backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = Sam(EMBEDDED)
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module = SupervisedStep(model, TrainRecipe())
    seconds: dict[str, list[float]] = {name: [] for name in ATTENTIONS}
    for step in range(arguments.steps + 2):
        for name, attention in ATTENTIONS.items():
            elapsed = time_step(module, attention, arguments.batch, step)
            if step >= 2:  # the first two warm up
                seconds[name].append(elapsed)

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    for name, values in seconds.items():
        print(f"{name:<12} {arguments.batch / statistics.median(values):.1f} photos/s")
    pairs = zip(seconds["fused"], seconds["written out"], strict=True)
    print(f"{'ratio':<12} {statistics.median(a / b for a, b in pairs):.2f}   fused / written out, pair by pair")


if __name__ == "__main__":
    main()
