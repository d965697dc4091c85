"""The plain ViT image encoders of SAM (arXiv 2304.02643; ViTDet, arXiv 2203.16527).

    image (B, 3, H, W) → patches of 16 px (B, H/16, W/16, C) → blocks, most of them windowed → neck

Module names equal the keys of the published checkpoints:
https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/modeling/image_encoder.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.model.config import ViTConfig
from mobilesam.model.layers import MLPBlock, from_windows, neck, static_shape, to_windows

# B images or windows, C channels, H W grid height and width, h heads, d = C/h


class PatchEmbed(nn.Module):
    """Embedding of non-overlapping patches of 16×16 px."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)  # (B, H, W, C)


def relative_positions(table: Tensor, size: int) -> Tensor:
    """Look up (2 * trained_size - 1, d) relative positions for every pair of `size` positions: (size, size, d).

    A table trained at another size is resampled linearly, as the reference does.
    """
    length = 2 * size - 1
    if table.shape[0] != length:
        table = F.interpolate(table.T[None].float(), size=length, mode="linear")[0].T.to(table.dtype)
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position[None, :] + size - 1]


class Attention(nn.Module):
    """Self-attention over a grid, with decomposed relative positions (MViTv2, arXiv 2112.01526)."""

    def __init__(self, dim: int, num_heads: int, size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, dim // num_heads))

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, c = static_shape(x)
        qkv = self.qkv(x).reshape(-1, h * w, 3, self.num_heads, c // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, h, H*W, d)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.position_bias(q, h, w))
        return self.proj(x.transpose(1, 2).reshape(-1, h, w, c))

    def position_bias(self, q: Tensor, h: int, w: int) -> Tensor:
        """Compute the additive attention bias: (B, h, H*W, d) queries → (B, h, H*W, H*W)."""
        _, heads, _, d = static_shape(q)
        q = q.reshape(-1, h, w, d)  # (B * h, H, W, d); heads join the batch: six dimensions are too many for CoreML
        rows = relative_positions(self.rel_pos_h, h).to(q.dtype)
        columns = relative_positions(self.rel_pos_w, w).to(q.dtype)
        bias_h = torch.einsum("bhwd,hkd->bhwk", q, rows)  # (B * h, H, W, H)
        bias_w = torch.einsum("bhwd,wkd->bhwk", q, columns)  # (B * h, H, W, W)
        bias = bias_h[..., :, None] + bias_w[..., None, :]  # (B * h, H, W, H, W)
        return bias.reshape(-1, heads, h * w, h * w)


class Block(nn.Module):
    """A pre-normalised transformer block; `window` 0 attends over the whole grid."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, window: int, grid: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, window or grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, _ = static_shape(x)
        y = self.norm1(x)
        if self.window:
            windows, padded_hw = to_windows(y, self.window)
            y = from_windows(self.attn(windows), padded_hw, (h, w))
        else:
            y = self.attn(y)
        x = x + y
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Plain ViT image encoder.

    Args:
        config: width, depth and which blocks attend globally.
        embed_dim: channels of the embedding.
        grid: cells per side that the position tables are made for.
    """

    def __init__(self, config: ViTConfig, embed_dim: int, grid: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, config.embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                config.embed_dim,
                config.num_heads,
                config.mlp_ratio,
                window=0 if i in config.global_attention_blocks else config.window_size,
                grid=grid,
            )
            for i in range(config.depth)
        )
        self.neck = neck(config.embed_dim, embed_dim)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised image (B, 3, H, W), H and W multiples of 16 → embedding (B, embed_dim, H/16, W/16)."""
        x = self.patch_embed(image)  # (B, H/16, W/16, C)
        x = x + self.positions(*static_shape(x)[1:3])
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))

    def positions(self, h: int, w: int) -> Tensor:
        """Absolute positions (1, h, w, C), resampled when the grid is not the trained one."""
        if self.pos_embed.shape[1:3] == (h, w):
            return self.pos_embed
        table = self.pos_embed.permute(0, 3, 1, 2)
        return F.interpolate(table, size=(h, w), mode="bicubic", antialias=False).permute(0, 2, 3, 1)
