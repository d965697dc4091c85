"""Bias correction for rounded weights: the mean by which rounding shifts a layer's outputs is taken off its bias.

Inputs that follow a ReLU are positive, so errors of weights do not cancel: much of what rounding does to an output is
the same everywhere. See Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction (2019);
here the means of the inputs are measured on photos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilesam.export.agreement import Reference
from mobilesam.model.backend import TorchBackend
from mobilesam.model.sam import Sam

PHOTOS = 8
"""At most so many photos are looked at; means need few."""


def input_means(sam: Sam, photos: Sequence[Path]) -> dict[str, Tensor]:
    """Mean input (channels,) of each convolution and linear layer, by name, over photos, clicks and boxes."""
    sums: dict[str, tuple[Tensor, int]] = {}
    with watching(sam, sums):
        Reference.of(TorchBackend(sam), photos[:PHOTOS])
    return {name: (total / count).float() for name, (total, count) in sums.items()}


@contextmanager
def watching(sam: Sam, sums: dict[str, tuple[Tensor, int]]) -> Iterator[None]:
    """Add up the inputs of each layer while the block runs: name → their sum (channels,), and their number."""

    def watch(name: str, axis: int) -> Any:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().movedim(axis, -1).flatten(0, -2).double()  # (positions, channels)
            total, count = sums.get(name, (torch.zeros(x.shape[1], dtype=torch.float64), 0))
            sums[name] = total + x.sum(dim=0), count + len(x)

        return add

    handles = []
    for name, layer in sam.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            handles.append(layer.register_forward_pre_hook(watch(name, 1 if isinstance(layer, nn.Conv2d) else -1)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def correct_biases(sam: Sam, before: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> None:
    """Change the biases of layers, in place, so that their mean outputs are those of the weights before rounding.

    Args:
        sam: the network with rounded weights.
        before: its state before.
        means: from `input_means`, of the network before. Layers that are not in it stay as they are.
    """
    for name, mean in means.items():
        layer: Any = sam.get_submodule(name)
        error = layer.weight - before[f"{name}.weight"]
        if isinstance(layer, nn.Conv2d):
            error = error.sum(dim=(2, 3))  # (out, in of the group); what lies outside of the picture is neglected
        per_group = mean.view(getattr(layer, "groups", 1), 1, -1)  # (groups, 1, in of the group)
        shift = (error.view(len(per_group), -1, error.shape[1]) * per_group).sum(dim=2).flatten()  # (out,)
        layer.bias.copy_((before[f"{name}.bias"] - shift).half().float())
