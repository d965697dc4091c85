"""Faster variants of layers for training in bfloat16 on a GPU; weights and results stay the same.

Autocast computes layer norms in float32 and returns float32. In SAM's decoder that turns the whole image stream, the
largest tensor of the step, into float32. And the decoder's attention is written out for CPUs (docs/decisions/0001); a
GPU has a kernel for it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.sam import Sam
from mobilesam.model.transformer import Attention

# N prompts, T tokens, C channels


def keep_bfloat16(model: Sam) -> None:
    """Keep norms and the decoder's image stream in bfloat16, and fuse attention into one kernel. For training only."""
    for module in model.modules():
        changed: Any = module  # methods of this one module are replaced, not of its class
        if isinstance(module, nn.LayerNorm):
            changed.forward = partial(norm, module)
        elif isinstance(module, LayerNorm2d):
            changed.channels_last = partial(norm, module)
        elif isinstance(module, Attention):
            changed.forward = partial(attend, module)
    prompts: Any = model.prompt_encoder
    # Both are added to the image stream, which takes the wider type of the two.
    prompts.embed_masks = partial(to_bfloat16, prompts.embed_masks)
    prompts.pe_layer.grid = partial(to_bfloat16, prompts.pe_layer.grid)


def norm(module: nn.LayerNorm | LayerNorm2d, x: Tensor) -> Tensor:
    """Layer norm over (..., C) in the type of its input; sums are float32 inside the kernel."""
    with torch.autocast(x.device.type, enabled=False):
        weight, bias = module.weight.to(x.dtype), module.bias.to(x.dtype)
        return F.layer_norm(x, weight.shape, weight, bias, module.eps)


def attend(module: Attention, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """The attention of `module` by torch's kernel: (N, T, C) each → (N, T, C); `bias` is added to its scores."""
    q, k, v = (module.heads(p(x)) for p, x in ((module.q_proj, q), (module.k_proj, k), (module.v_proj, v)))
    return module.out_proj(F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2))


def to_bfloat16(function: Any, *arguments: Any) -> Tensor:
    """Wrap a function so that it returns bfloat16."""
    return function(*arguments).to(torch.bfloat16)
