"""Folds batch norms into their convolutions: the same function with fewer weights and nodes, for quantised exports."""

from __future__ import annotations

import torch
from torch import nn

from mobilesam.model.efficientnet_lite import NORM_EPS, ConvNorm
from mobilesam.model.tiny_vit import ConvBN


def fold_norms(module: nn.Module) -> None:
    """Replace every convolution that has a batch norm by one with a bias, in place; names of the others stay."""
    for name, child in list(module.named_children()):
        if isinstance(child, ConvNorm):
            setattr(module, name, _fold(child.conv, child.weight, child.bias, child, NORM_EPS))
        elif isinstance(child, ConvBN):
            convolution, norm = child.c, child.bn
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            setattr(module, name, _fold(convolution, norm.weight, norm.bias, norm, norm.eps))
        else:
            fold_norms(child)


@torch.no_grad()
def _fold(
    conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor, norm: ConvNorm | nn.BatchNorm2d, eps: float
) -> nn.Conv2d:
    """One convolution in place of a convolution without a bias and its norm."""
    assert isinstance(norm.running_var, torch.Tensor)
    assert isinstance(norm.running_mean, torch.Tensor)
    kernel, stride, padding = (tuple(side) for side in (conv.kernel_size, conv.stride, conv.padding))
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, stride, padding, groups=conv.groups)  # type: ignore[arg-type]
    scale = weight * (norm.running_var + eps).rsqrt()
    folded.weight.copy_(conv.weight * scale[:, None, None, None])
    folded.bias.copy_(bias - norm.running_mean * scale)  # type: ignore[union-attr]
    return folded.eval()
