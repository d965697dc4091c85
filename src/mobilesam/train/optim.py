"""How the weights move: learning rate, weight decay, and their running average."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from mobilesam.train.config import OptimConfig


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """Linear warm-up, then half a cosine down to `min_lr_ratio`."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over what learns; norms, biases, tokens and position tables are not decayed."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_table = "embed" in name or "token" in name or "attention_biases" in name or "rel_pos" in name
        (free if parameter.ndim < 2 or is_table else decayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)


class Ema:
    """An exponential moving average of a network's weights and statistics.

    The decay grows from 0 to its final value, so that a short run is not dominated by its first steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Fold the weights after `step` (0, 1, 2 ...) in."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)
