"""Low-rank adapters (arXiv 2106.09685): a linear layer's weight W stays, and W + (alpha / rank) B A is used.

They are torch parametrizations, so the network's code does not know of them; `merge` folds them in, and what is saved
is an ordinary checkpoint of the same keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mobilesam.errors import SettingsError
from mobilesam.model.sam import Sam
from mobilesam.train.config import LoraConfig


class LowRank(nn.Module):
    """weight (out, in) → weight + scale * B A. B starts at zero: at first nothing has changed."""

    def __init__(self, out_features: int, in_features: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, in_features) * in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(out_features, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight."""
        return weight + self.scale * (self.b @ self.a)


def add(model: Sam, config: LoraConfig) -> None:
    """Put an adapter on every linear layer of the configured parts; all else in those parts is frozen.

    Raises:
        SettingsError: there is no such part.
    """
    if not config.rank:
        return
    for part in config.parts:
        if part not in ("image_encoder", "mask_decoder"):
            raise SettingsError(f"lora.parts names '{part}'; adapters go on image_encoder and mask_decoder")
        module = model.get_submodule(part)
        module.requires_grad_(False)
        for layer in [m for m in module.modules() if isinstance(m, nn.Linear)]:
            adapter = LowRank(layer.out_features, layer.in_features, config.rank, config.alpha)
            parametrize.register_parametrization(layer, "weight", adapter)


def merge(model: Sam) -> None:
    """Fold every adapter into its weight, in place."""
    for module in list(model.modules()):
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
