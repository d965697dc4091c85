"""SAM's prompt encoder: points, boxes and masks → tokens (arXiv 2304.02643, appendix A, "Prompt encoder").

Points and box corners become sparse tokens (N, P, C); a rough mask becomes a dense (N, C, g, g) map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mobilesam.contract import LABEL_PADDING
from mobilesam.model.layers import LayerNorm2d

# N prompts, P points per prompt, C embed_dim, g grid


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of a position in the unit square (arXiv 2006.10739)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_features))

    def forward(self, unit_xy: Tensor) -> Tensor:
        """Encode positions: (..., 2) in 0-1 → (..., 2 * num_features)."""
        x, y = (2 * unit_xy - 1).unsqueeze(-2).unbind(dim=-1)  # (..., 1) each
        # Written out, because autocast would round the coordinates of a matrix product to bfloat16's 1/256.
        along_x, along_y = self.positional_encoding_gaussian_matrix
        angles = 2 * math.pi * (x * along_x + y * along_y)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def grid(self, h: int, w: int) -> Tensor:
        """Features of every cell centre: (C, h, w)."""
        matrix = self.positional_encoding_gaussian_matrix
        device, dtype = matrix.device, matrix.dtype
        y = (torch.arange(h, device=device, dtype=dtype) + 0.5) / h
        x = (torch.arange(w, device=device, dtype=dtype) + 0.5) / w
        unit_xy = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1)  # (h, w, 2)
        return self(unit_xy).permute(2, 0, 1)


class PromptEncoder(nn.Module):
    """Encoder of points and box corners to tokens, and of mask inputs to a dense embedding.

    Args:
        embed_dim: channels of every token.
        mask_channels: channels inside the mask branch.
        shift: what the decoder adds to its logits (`SamConfig.logit_shift`). Masks that come back as a prompt have it,
            and the weights were trained on masks without it, so it is taken off again.
    """

    def __init__(self, embed_dim: int, mask_channels: int, *, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift
        self.pe_layer = PositionEmbeddingRandom(embed_dim // 2)
        # One per label code 0-3: background, object, top-left corner, bottom-right corner.
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, 2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, 2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def embed_points(self, coords: Tensor, labels: Tensor, input_hw: tuple[int, int]) -> Tensor:
        """Embed points: (N, P, 2) pixels of the padded input and (N, P) label codes → (N, P, C)."""
        x, y = (coords + 0.5).unbind(dim=-1)  # a click means the centre of its pixel
        tokens = self.pe_layer(torch.stack([x / input_hw[1], y / input_hw[0]], dim=-1))
        padding = labels[..., None] == LABEL_PADDING
        tokens = torch.where(padding, self.not_a_point_embed.weight, tokens)
        for code, embedding in enumerate(self.point_embeddings):
            assert isinstance(embedding, nn.Embedding)
            tokens = tokens + embedding.weight * (labels[..., None] == code)
        return tokens

    def embed_masks(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """Embed masks: (N, 1, 4g, 4g) logits, (N,) flags → (N, C, g, g); rows without one get the learned "no mask"."""
        dense = self.mask_downscaling(mask_input - self.shift if self.shift else mask_input)
        flags = has_mask_input[:, None, None, None]
        no_mask = self.no_mask_embed.weight[..., None, None]  # (1, C, 1, 1)
        return flags * dense + (1 - flags) * no_mask
