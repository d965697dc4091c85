"""The complete SAM model: image encoder, prompt encoder and mask decoder.

image (B, 3, H, W) 0-255 ─encode→ embedding (B, C, g, g) ┐
points, labels, rough mask ──────────────────────────────┴─decode→ low_res_masks (N, 4, 4g, 4g), iou (N, 4)
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn, tensor

from mobilesam.contract import PATCH_SIZE, PIXEL_MEAN, PIXEL_STD
from mobilesam.model.config import SamConfig, TinyViTConfig, ViTConfig
from mobilesam.model.efficientnet_lite import EfficientNetLite
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.prompt_encoder import PromptEncoder
from mobilesam.model.tiny_vit import TinyViT
from mobilesam.model.vit import ViT

# B images, N prompts, P points, C channels, g grid


class Sam(nn.Module):
    """Promptable segmentation model: encodes a photo once, then decodes any number of prompts."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = build_encoder(config)
        self.prompt_encoder = PromptEncoder(config.embed_dim, config.mask_channels, shift=config.logit_shift)
        self.mask_decoder = MaskDecoder(
            config.embed_dim,
            config.decoder_heads,
            config.decoder_mlp_dim,
            smooth=config.smooth_masks,
            shift=config.logit_shift,
        )
        self.register_buffer("pixel_mean", tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def preprocess(self, image: Tensor, side: int | None = None) -> Tensor:
        """Normalise RGB 0-255 (B, 3, H, W) and pad with zeros at the right and bottom to (B, 3, side, side).

        Args:
            side: `config.image_size` when None; another needs an encoder that takes it (`config.sides`).

        Raises:
            ValueError: H or W exceeds the side.
        """
        size = side or self.config.image_size
        if max(image.shape[-2:]) > size:
            raise ValueError(f"an image of {tuple(image.shape[-2:])} exceeds {size}; resize its long side to {size}")
        return self.normalise_and_pad(image, size)

    def normalise_and_pad(self, image: Tensor, side: int) -> Tensor:
        """The part of `preprocess` that an exported graph holds."""
        image = (image - self.pixel_mean) / self.pixel_std
        return F.pad(image, (0, side - image.shape[-1], 0, side - image.shape[-2]))

    def encode(self, image: Tensor, side: int | None = None) -> Tensor:
        """Encode RGB 0-255 (B, 3, H, W), H and W at most the side, to an embedding (B, C, g, g)."""
        return self.image_encoder(self.preprocess(image, side))

    def decode(
        self,
        embedding: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts to masks and scores, as the decoder of `mobilesam.contract`.

        Args:
            embedding: (1 or N, C, g, g); may be non-square when the encoder was called on a non-square input.
            point_coords: (N, P, 2) (x, y) in pixels of the resized photo.
            point_labels: (N, P) label codes.
            mask_input: (M, 1, 4g, 4g) logits; M is N, or 1 for all prompts.
            has_mask_input: (M,) 1 where mask_input counts, else 0.

        Returns:
            low_res_masks (N, 4, 4g, 4g) logits, iou_predictions (N, 4).
        """
        h, w = embedding.shape[2:]
        input_hw = (h * PATCH_SIZE, w * PATCH_SIZE)
        sparse = self.prompt_encoder.embed_points(point_coords, point_labels, input_hw)
        dense = self.prompt_encoder.embed_masks(mask_input, has_mask_input)
        return self.mask_decoder(embedding, self.prompt_encoder.pe_layer.grid(h, w), sparse, dense)


def build_encoder(config: SamConfig) -> nn.Module:
    """Build the image encoder of a configuration: (B, 3, S, S) normalised → (B, C, S/16, S/16)."""
    encoder = config.encoder
    if isinstance(encoder, TinyViTConfig):
        return TinyViT(encoder, config.embed_dim)
    if isinstance(encoder, ViTConfig):
        return ViT(encoder, config.embed_dim, config.grid)
    return EfficientNetLite(encoder, config.embed_dim)
