"""TinyViT (arXiv 2207.10666) as MobileSAM's image encoder (arXiv 2306.14289, section 4.1).

    image (B, 3, H, W) → stem /4 → MBConv stage → /8 → attention stage → /16 → two attention stages → neck
          → embedding (B, embed_dim, H/16, W/16)

The last down-sampling keeps its resolution (stride 1), so that the embedding has SAM's stride of 16.
Module names equal the keys of the published checkpoint:
https://github.com/ChaoningZhang/MobileSAM/blob/f706ad9c4eb7f219c00d9050e46328518ffb65d2/mobile_sam/modeling/tiny_vit_sam.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.config import TinyViTConfig
from mobilesam.model.layers import attention, from_windows, neck, static_shape, to_windows

# B images or windows, C channels, H W height and width, N tokens of a window, h heads


class ConvBN(nn.Sequential):
    """A convolution without bias and its batch norm; exporters fold the two into one."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module("c", nn.Conv2d(in_dim, out_dim, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(out_dim))


class PatchEmbed(nn.Module):
    """The stem of TinyViT: two 3×3 convolutions of stride 2."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBN(3, dim // 2, 3, stride=2), nn.GELU(), ConvBN(dim // 2, dim, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class MBConv(nn.Module):
    """Inverted residual: 1×1 expand, 3×3 depthwise, 1×1 project."""

    def __init__(self, dim: int, expand_ratio: float) -> None:
        super().__init__()
        hidden = int(dim * expand_ratio)
        self.conv1 = ConvBN(dim, hidden)
        self.conv2 = ConvBN(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvBN(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.conv1(x))
        y = F.gelu(self.conv2(y))
        return F.gelu(x + self.conv3(y))


class PatchMerging(nn.Module):
    """Down-sampling between two stages: more channels and, with stride 2, half the resolution."""

    def __init__(self, dim: int, out_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(dim, out_dim)
        self.conv2 = ConvBN(out_dim, out_dim, 3, stride=stride, groups=out_dim)
        self.conv3 = ConvBN(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.conv1(x))
        return self.conv3(F.gelu(self.conv2(x)))  # (B, out_dim, H/stride, W/stride)


class Attention(nn.Module):
    """Self-attention inside one window, with a learned bias per head and absolute offset.

    The reference gathers `attention_biases` into a cache when `.eval()` is called, and keeps serving it after new
    weights are loaded. Here the gather happens in every forward: it costs microseconds and cannot go stale.
    """

    bias_index: Tensor

    def __init__(self, dim: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window * window))
        y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        y, x = y.flatten(), x.flatten()
        index = (y[:, None] - y).abs() * window + (x[:, None] - x).abs()  # (N, N)
        self.register_buffer("bias_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        _, n, c = static_shape(x)
        # q, k and v lie side by side within each head, not in three blocks of heads.
        qkv = self.qkv(self.norm(x)).reshape(-1, n, self.num_heads, 3 * c // self.num_heads)
        q, k, v = qkv.transpose(1, 2).split(c // self.num_heads, dim=-1)  # each (B, h, N, C/h)
        bias = self.attention_biases[:, self.bias_index].to(q.dtype)  # (h, N, N)
        x = attention(q, k, v, bias)
        return self.proj(x.transpose(1, 2).reshape(-1, n, c))


class Mlp(nn.Module):
    """Feed-forward block with layer norm first."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class TinyViTBlock(nn.Module):
    """Window attention, a 3×3 depthwise convolution across window borders, feed-forward."""

    def __init__(self, dim: int, num_heads: int, window: int, mlp_ratio: float) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(dim, num_heads, window)
        self.local_conv = ConvBN(dim, dim, 3, groups=dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, c = static_shape(x)
        # Padding comes before the attention's norm, so padded tokens take part, as in the reference.
        windows, padded_hw = to_windows(x, self.window)  # (B * num_windows, size, size, C)
        attended = self.attn(windows.flatten(1, 2)).reshape(-1, self.window, self.window, c)
        x = x + from_windows(attended, padded_hw, (h, w))  # (B, H, W, C)
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(x)


class ConvStage(nn.Module):
    """The first stage: MBConv blocks, then down-sampling."""

    def __init__(self, dim: int, out_dim: int, depth: int, expand_ratio: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MBConv(dim, expand_ratio) for _ in range(depth))
        self.downsample = PatchMerging(dim, out_dim, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class AttentionStage(nn.Module):
    """Attention blocks, then down-sampling unless it is the last stage."""

    def __init__(self, blocks: list[TinyViTBlock], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C)
        for block in self.blocks:
            x = block(x)
        x = x.permute(0, 3, 1, 2)  # (B, C, H, W)
        return x if self.downsample is None else self.downsample(x)


class UnusedWeights(nn.Module):
    """Tensors that the published checkpoint carries and nothing computes with: buffers, never parameters."""

    def __init__(self, weight_shape: tuple[int, ...], bias_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(weight_shape))
        self.register_buffer("bias", torch.zeros(bias_shape))


class TinyViT(nn.Module):
    """TinyViT image encoder.

    Args:
        config: sizes of the four stages.
        embed_dim: channels of the embedding.
    """

    def __init__(self, config: TinyViTConfig, embed_dim: int) -> None:
        super().__init__()
        dims = config.embed_dims
        self.patch_embed = PatchEmbed(dims[0])
        self.layers = nn.ModuleList([ConvStage(dims[0], dims[1], config.depths[0], config.mbconv_expand_ratio)])
        for i in (1, 2, 3):
            blocks = [
                TinyViTBlock(dims[i], config.num_heads[i], config.window_sizes[i], config.mlp_ratio)
                for _ in range(config.depths[i])
            ]
            # MobileSAM's one change to TinyViT: the last down-sampling has stride 1.
            merging = PatchMerging(dims[i], dims[i + 1], stride=2 if i == 1 else 1) if i < 3 else None
            self.layers.append(AttentionStage(blocks, merging))
        if config.num_classes:
            self.norm_head = UnusedWeights((dims[3],), (dims[3],))
            self.head = UnusedWeights((config.num_classes, dims[3]), (config.num_classes,))
        self.neck = neck(dims[3], embed_dim, config.neck_groups)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised image (B, 3, H, W), H and W multiples of 16 → embedding (B, embed_dim, H/16, W/16)."""
        x = self.patch_embed(image)  # (B, C0, H/4, W/4)
        for layer in self.layers:
            x = layer(x)  # H/8, H/16, H/16, H/16
        return self.neck(x)
