"""Computing in bfloat16: which processors can, and an image encoder in it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def has_bfloat16() -> bool:
    """Whether torch uses vectors on this processor that it computes in bfloat16 with: AVX-512, or SVE on ARM.

    On x86 with AVX2 it converts to float32 and back for each product: a training step takes 14 times as long as in
    float32 (`python -m benchmarks.train_step precisions`). AVX-512 without instructions for bfloat16, and ARM, were not
    measured.
    """
    return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "SVE"))


def to_bfloat16(encoder: nn.Module) -> nn.Module:
    """Copy an image encoder to bfloat16."""
    encoder = copy.deepcopy(encoder).to(torch.bfloat16)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            # cuDNN's depthwise convolution is extremely slow in bfloat16 where channels lie last, as norms leave them.
            module.register_forward_pre_hook(channels_first)
    return encoder


def channels_first(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A hook that lays out a layer's input (B, C, H, W) with the channels first."""
    return tuple(tensor.contiguous() for tensor in inputs)
