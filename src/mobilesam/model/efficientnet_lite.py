"""EfficientNet-Lite as an image encoder, with a small pyramid neck.

The body is EfficientNet (arXiv 1905.11946) in its Lite variant: no squeeze-and-excitation, ReLU6 for swish, so that it
runs well on phones and in int8. It starts from ImageNet weights (`mobilesam.model.imagenet`), which a few thousand
training photos cannot replace.

    image (B, 3, S, S) → stem /2 → seven stages → taps at /8, /16, /32 → joined at /16 → embedding (B, C, S/16, S/16)

Batch statistics are frozen, in training too: every convolution computes with its batch norm folded in. That saves one
pass over every activation, and small batches cannot spoil the statistics. Padding is symmetric, where the original's
("SAME" of TensorFlow) depends on the photo's size.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.config import EfficientNetLiteConfig
from mobilesam.model.layers import LayerNorm2d

# B images, S side of the square, C channels

KERNELS = (3, 3, 5, 3, 5, 5, 3)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
TAPS = (2, 4, 6)  # the last stages at /8, /16 and /32
EXPANSION = 6  # of every block but the first
NORM_EPS = 1e-3  # TensorFlow's, which the ImageNet weights were trained with


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite image encoder with a pyramid neck.

    Args:
        config: widths and depths of the stages.
        embed_dim: channels of the embedding.
    """

    def __init__(self, config: EfficientNetLiteConfig, embed_dim: int) -> None:
        super().__init__()
        self.stem = ConvNorm(3, config.stem, 3, stride=2)
        widths = (config.stem, *config.widths)
        self.stages = nn.ModuleList(
            stage(widths[i], widths[i + 1], depth, KERNELS[i], STRIDES[i], EXPANSION if i else 1)
            for i, depth in enumerate(config.depths)
        )
        fine, middle, coarse = (config.widths[i] for i in TAPS)
        self.neck = PyramidNeck((fine, middle, coarse), embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised image (B, 3, S, S), S a multiple of 32 → embedding (B, C, S/16, S/16)."""
        x = F.relu6(self.stem(image))  # (B, 32, S/2, S/2)
        taps = []
        for i, blocks in enumerate(self.stages):
            x = blocks(x)  # down by the stage's stride
            if i in TAPS:
                taps.append(x)
        return self.neck(*taps)


def stage(in_dim: int, out_dim: int, depth: int, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    """Build a stage of `depth` blocks; the first changes the number of channels and applies the stride."""
    first = InvertedResidual(in_dim, out_dim, kernel, stride, expansion)
    return nn.Sequential(first, *(InvertedResidual(out_dim, out_dim, kernel, 1, expansion) for _ in range(depth - 1)))


class ConvNorm(nn.Module):
    """A convolution and its frozen batch norm, computed as one convolution with a bias."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.weight = nn.Parameter(torch.ones(out_dim))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.register_buffer("running_mean", torch.zeros(out_dim))
        self.register_buffer("running_var", torch.ones(out_dim))

    def as_convolution(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution that both together are."""
        scale = self.weight * (self.running_var + NORM_EPS).rsqrt()
        return self.conv.weight * scale[:, None, None, None], self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.as_convolution()
        conv = self.conv
        if self.training and conv.groups > 1 and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            return FastDepthwise.apply(x, weight, bias, conv.stride[0])  # type: ignore[no-untyped-call]
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class InvertedResidual(nn.Module):
    """MobileNetV2's block (arXiv 1801.04381): 1×1 expand, depthwise, 1×1 project without activation."""

    def __init__(self, dim: int, out_dim: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = dim * expansion
        self.expand = ConvNorm(dim, hidden) if expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, out_dim)
        self.is_residual = stride == 1 and dim == out_dim

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.is_residual else y


class PyramidNeck(nn.Module):
    """Features at /8, /16 and /32 → one embedding at /16, where SAM's decoder expects it."""

    def __init__(self, dims: tuple[int, int, int], embed_dim: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(dims[0], embed_dim, 3, 2, 1, bias=False)
        self.middle = nn.Conv2d(dims[1], embed_dim, 1, bias=False)
        self.coarse = nn.Conv2d(dims[2], embed_dim, 1, bias=False)
        self.norm = LayerNorm2d(embed_dim)
        self.conv = nn.Conv2d(embed_dim, embed_dim, 3, padding=1, bias=False)
        self.out_norm = LayerNorm2d(embed_dim)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """(B, C8, S/8, S/8), (B, C16, S/16, S/16), (B, C32, S/32, S/32) → (B, C, S/16, S/16)."""
        up = F.interpolate(self.coarse(coarse), scale_factor=2.0, mode="nearest")
        x = self.fine(fine) + self.middle(middle) + up
        return self.out_norm(self.conv(F.gelu(self.norm(x))))


class FastDepthwise(torch.autograd.Function):
    """A depthwise convolution in bfloat16 whose gradient is computed in float32.

    On CPUs the bfloat16 gradient of oneDNN takes up to 100 times as long as the float32 one; forward is fast in either.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        """(B, C, H, W) bfloat16, (C, 1, k, k), (C,) → (B, C, H/stride, W/stride) bfloat16."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        with torch.autocast("cpu", enabled=False):
            padding = weight.shape[-1] // 2
            return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        padding, channels = weight.shape[-1] // 2, len(weight)
        found = torch.ops.aten.convolution_backward(
            grad.float(), x.float(), weight.float(), [channels], [ctx.stride] * 2, [padding] * 2, [1, 1],
            False, [0, 0], channels, [True, True, True],
        )  # fmt: skip
        return found[0].to(x.dtype), found[1], found[2], None
