"""Layers that several parts of SAM share."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# B images, C channels, H W height and width, N tokens


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax attention over (B, h, N, d) tensors, with an optional additive bias (h, N, N).

    Written out because TinyViT's bias needs a gradient, because torch's fused CPU kernel is slower for the decoder's
    few tokens (docs/decisions/0001), and because these three operations export as they are.
    """
    weights = (q * int(q.shape[-1]) ** -0.5) @ k.transpose(-2, -1)  # (B, h, N, N)
    if bias is not None:
        weights = weights + bias
    return weights.softmax(dim=-1) @ v


def static_shape(x: Tensor) -> tuple[int, ...]:
    """A tensor's shape as Python integers, so that a traced graph holds constants instead of nodes that compute them.

    For channels, heads and an attention encoder's grid, which an exported graph fixes; never for the batch, nor for the
    decoder's grid, which stay dynamic.
    """
    return tuple(int(side) for side in x.shape)


def binomial(x: Tensor) -> Tensor:
    """Smooth (B, C, H, W) with the binomial kernel 1 2 1 along both sides, padded with zeros.

    Written as sums of shifted copies: pooling no masks at all (B = 0) writes outside its memory in OpenVINO 2026.4.
    """
    for axis in (-1, -2):
        first, last = x.narrow(axis, 0, 1), x.shape[axis] - 1
        before = torch.cat([0 * first, x.narrow(axis, 0, last)], dim=axis)
        after = torch.cat([x.narrow(axis, 1, last), 0 * first], dim=axis)
        x = 0.5 * x + 0.25 * (before + after)
    return x


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W), as in ConvNeXt and SAM."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # One fused LayerNorm on channels-last beats four elementwise passes over (B, C, H, W).
        return self.channels_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def channels_last(self, x: Tensor) -> Tensor:
        """Normalise (..., C), with the channels last."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class MLP(nn.Module):
    """`num_layers` linear layers with ReLU between them: SAM's hypernetworks and IoU head."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int, num_layers: int) -> None:
        super().__init__()
        dims = [dim, *[hidden_dim] * (num_layers - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MLPBlock(nn.Module):
    """The two-layer feed-forward of a transformer block."""

    def __init__(self, dim: int, hidden_dim: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


def neck(in_channels: int, out_channels: int, groups: int = 1) -> nn.Sequential:
    """Build SAM's neck from encoder features to image embedding: 1×1 conv, norm, 3×3 conv, norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=groups, bias=False),
        LayerNorm2d(out_channels),
    )


def to_windows(x: Tensor, size: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut (B, H, W, C) into windows of size×size tokens, padding right and bottom with zeros.

    Returns:
        windows (B * num_windows, size, size, C) and the padded (H, W).
    """
    h, w, c = static_shape(x)[1:]
    padded_h, padded_w = h + -h % size, w + -w % size
    if (padded_h, padded_w) != (h, w):
        x = F.pad(x, (0, 0, 0, padded_w - w, 0, padded_h - h))
    # In at most five dimensions, which is all that CoreML takes: a window's row lies in one piece.
    x = x.reshape(-1, size, padded_w // size, size * c)  # (B * rows, size, columns, size * C)
    return x.transpose(1, 2).reshape(-1, size, size, c), (padded_h, padded_w)


def from_windows(windows: Tensor, padded_hw: tuple[int, int], hw: tuple[int, int]) -> Tensor:
    """Inverse of `to_windows`: (B * num_windows, size, size, C) → (B, H, W, C), padding cropped."""
    _, size, _, c = static_shape(windows)
    x = windows.reshape(-1, padded_hw[1] // size, size, size * c)  # (B * rows, columns, size, size * C)
    x = x.transpose(1, 2).reshape(-1, *padded_hw, c)
    return x if padded_hw == hw else x[:, : hw[0], : hw[1]]
