"""The optimizer: learning rate, weight decay, skipping of NaN gradients, and the average of the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from mobilesam.train.build import check_prefixes, longest_prefix
from mobilesam.train.learning_config import OptimConfig


def learning_rate(step: int, progress: float, config: OptimConfig) -> float:
    """Cosine schedule of the learning rate, from `lr` down to `min_lr_ratio` of it, times a linear warm-up.

    Args:
        step: 0, 1, 2 ...
        progress: of the run, 0-1.
        config: rate, warm-up, floor.
    """
    warmth = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * warmth * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def build_optimizer(model: nn.Module, config: OptimConfig, *, fused: bool = False) -> torch.optim.AdamW:
    """Build AdamW over the trained parameters; norms, biases, tokens and position tables have no weight decay.

    Args:
        model: whose parameters.
        config: rates and decay; each group carries the factor of its learning rate as `lr_scale`.
        fused: one kernel for all parameters, which can also leave a step out without asking the CPU.

    Raises:
        SettingsError: `lr_scale` names parameters that do not exist.
    """
    check_prefixes(model, tuple(config.lr_scale), "optim.lr_scale")
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_table = "embed" in name or "token" in name or "attention_biases" in name or "rel_pos" in name
        scale = config.lr_scale.get(longest_prefix(name, config.lr_scale) or "", 1.0)
        groups[scale, parameter.ndim >= 2 and not is_table].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr_scale": scale, "weight_decay": config.weight_decay if is_decayed else 0.0}
            for (scale, is_decayed), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
        ],
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=fused or None,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, scaled for each parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]


class Guard:
    """Skips steps whose gradient is NaN or infinite, without making the CPU wait for the GPU at every step.

    Args:
        optimizer: fused, so that it reads `found_inf` on the device.
        device: of the counter.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.optimizer: Any = optimizer
        self.in_a_row = torch.zeros((), device=device)

    def watch(self, norm: Tensor) -> None:
        """Make the optimizer skip the next step if the gradient's norm () is NaN or infinite."""
        is_bad = (~torch.isfinite(norm)).float()
        self.optimizer.found_inf = is_bad
        self.in_a_row = (self.in_a_row + 1) * is_bad

    def num_left_out(self) -> int:
        """Number of consecutive skipped steps up to the last one. Waits for the device."""
        return int(self.in_a_row)


class Ema:
    """An exponential moving average of a network's weights and statistics.

    The decay grows from 0 to its final value, so that a short run is not dominated by its first steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.live = model.state_dict()  # shares its memory with the network, which changes in place
        self.state = {k: v.detach().clone() for k, v in self.live.items()}
        self.averaged = [k for k, v in self.live.items() if v.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after `step` (0, 1, 2 ...), in one call for all tensors."""
        decay = min(self.decay, (1 + step) / (10 + step))
        names = self.averaged
        torch._foreach_lerp_([self.state[k] for k in names], [self.live[k] for k in names], 1 - decay)
        for key in self.live.keys() - set(names):
            self.state[key].copy_(self.live[key])
