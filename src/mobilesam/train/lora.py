"""Low-rank adapters (LoRA, arXiv 2106.09685): a frozen weight W is used as W + (alpha / rank) B A.

They sit on linear layers; in an encoder that has none, on its 1×1 convolutions, which are the same product per pixel.

They are torch parametrizations, so the network's code does not know of them; `merged_state` folds them in, and what is
saved is an ordinary checkpoint of the same keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mobilesam.errors import SettingsError
from mobilesam.model.sam import Sam
from mobilesam.train.learning_config import LoraConfig


class LowRank(nn.Module):
    """One adapter: weight (out, in) or (out, in, 1, 1) → weight + scale * B A. B starts at zero, without effect."""

    def __init__(self, out_features: int, in_features: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, in_features) * in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(out_features, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight."""
        return weight + self.scale * (self.b @ self.a).view_as(weight)


def add(model: Sam, config: LoraConfig) -> None:
    """Add an adapter to every adaptable layer of the configured parts and freeze everything else in them.

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
        for layer in adaptable(module):
            weight = layer.weight
            assert isinstance(weight, Tensor)
            adapter = LowRank(weight.shape[0], weight.shape[1], config.rank, config.alpha)
            parametrize.register_parametrization(layer, "weight", adapter)


def adaptable(module: nn.Module) -> list[nn.Module]:
    """The linear layers of a part; where there are none, its ungrouped 1×1 convolutions."""
    linear: list[nn.Module] = [m for m in module.modules() if isinstance(m, nn.Linear)]
    if linear:
        return linear
    return [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.groups == 1]


def merged_state(model: Sam, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge the adapters of a state dict into the weights: the state dict of the network without adapters.

    Args:
        model: where the adapters sit.
        state: its state dict, or an average of several.
    """
    plain = {key: value for key, value in state.items() if ".parametrizations." not in key}
    for name, layer in model.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            prefix = f"{name}.parametrizations.weight."
            adapter = layer.get_submodule("parametrizations.weight.0")
            assert isinstance(adapter, LowRank)
            product = state[prefix + "0.b"] @ state[prefix + "0.a"]
            original = state[prefix + "original"]
            plain[f"{name}.weight"] = original + adapter.scale * product.view_as(original)
    return plain
