"""SAM's mask decoder: image embedding and prompt tokens → masks and predicted IoU (arXiv 2304.02643, figure 14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mobilesam.contract import NUM_MASKS
from mobilesam.model.layers import MLP, LayerNorm2d, binomial
from mobilesam.model.transformer import TwoWayTransformer

# N prompts, T tokens, C channels, g grid


class MaskDecoder(nn.Module):
    """Mask decoder with one output token per mask, whose hypernetwork turns the up-scaled image into the mask.

    Args:
        dim: channels of embedding and tokens.
        num_heads: heads of the two-way transformer.
        mlp_dim: its feed-forward width.
        smooth: see `SamConfig.smooth_masks`.
        shift: see `SamConfig.logit_shift`.
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, *, smooth: bool = False, shift: float = 0.0) -> None:
        super().__init__()
        self.smooth, self.shift = smooth, shift
        self.transformer = TwoWayTransformer(dim, num_heads, mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(NUM_MASKS, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, 2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim // 8, 3) for _ in range(NUM_MASKS))
        self.iou_prediction_head = MLP(dim, dim, NUM_MASKS, 3)

    def forward(self, embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Decode N prompts.

        Args:
            embedding: (1 or N, C, g, g); one photo for all prompts, or a photo for each.
            image_pe: (C, g, g) positions of the cells.
            sparse: (N, P, C) prompt tokens.
            dense: (N, C, g, g) mask prompts.

        Returns:
            low_res_masks (N, 4, 4g, 4g) logits, iou_predictions (N, 4).
        """
        n = sparse.shape[0]
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # (1 + 4, C)
        tokens = torch.cat([output_tokens.expand(n, -1, -1), sparse], dim=1)  # (N, 1 + 4 + P, C)
        image = embedding + dense  # (N, C, g, g)
        h, w = image.shape[2:]

        cells = image.flatten(2).transpose(1, 2)  # (N, g*g, C)
        tokens, cells = self.transformer(cells, image_pe.flatten(1).T[None], tokens)

        upscaled = self.output_upscaling(cells.transpose(1, 2).reshape(-1, cells.shape[2], h, w))  # (N, C/8, 4g, 4g)
        weights = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = torch.stack(weights, dim=1) @ upscaled.flatten(2)  # (N, 4, 16g*g)
        masks = masks.reshape(-1, NUM_MASKS, 4 * h, 4 * w)
        return self.calibrate(masks), self.iou_prediction_head(tokens[:, 0])

    def calibrate(self, masks: Tensor) -> Tensor:
        """Smooth and shift logits (N, 4, 4g, 4g) where the configuration says so."""
        smooth = binomial(masks) if self.smooth else masks
        return smooth + self.shift if self.shift else smooth
