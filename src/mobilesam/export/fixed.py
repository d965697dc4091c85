"""Encoder and decoder for runtimes that take arrays of fixed shapes: LiteRT, ExecuTorch and CoreML.

They compute what the contract's pair computes, with two rules of a client moved into the graphs:

- The encoder takes the whole square and the size of the photo in it, and ignores every pixel outside of the photo. The
  contract pads with zeros after normalisation, which a client of a fixed square could only do with the mean colour.
- The decoder takes five points. Those with label -1 take no part, and the padding point that SAM adds to prompts
  without a box is added inside. So a prompt gives the masks that it gives in onnxruntime, however many points it has.

Steps that the runtimes do not know are written with others: labels are compared by arithmetic, no array has more than
five dimensions, and whatever depends on weights alone is computed before the export (`mobilesam.export.constants`).
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mobilesam.contract import FIXED_POINTS, LABEL_PADDING, PATCH_SIZE
from mobilesam.export import folded
from mobilesam.model.efficientnet_lite import ConvNorm
from mobilesam.model.layers import LayerNorm2d
from mobilesam.model.sam import Sam
from mobilesam.model.tiny_vit import ConvBN

# S side of the square, P = FIXED_POINTS, C channels, g grid, T = 1 + 4 + P + 1 tokens

IGNORED = -1e4
"""Added to the attention scores of tokens that take no part; their weights become exactly 0, in float16 too."""
CODES = (LABEL_PADDING, 0, 1, 2, 3)
"""Point labels; those from 0 on have an embedding, 2 and 3 are the corners of a box."""


class FixedEncoder(nn.Module):
    """image (1, 3, S, S) 0-255, input_hw (2,) → embedding (1, C, g, g); pixels from input_hw on are ignored."""

    places: Tensor

    def __init__(self, sam: Sam, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.sam, self.dtype = with_fused_norms(sam), dtype
        halve(self.sam.image_encoder, dtype)
        self.register_buffer("places", torch.arange(sam.config.image_size, dtype=torch.float32))

    def forward(self, image: Tensor, input_hw: Tensor) -> Tensor:
        """Encode a photo in the top left corner of the square."""
        rows = (input_hw[:1] - self.places).clamp(0, 1)[:, None]  # (S, 1), 1 inside the photo
        columns = (input_hw[1:] - self.places).clamp(0, 1)  # (S,)
        normalised = (image - self.sam.pixel_mean) / self.sam.pixel_std
        embedding: Tensor = self.sam.image_encoder((normalised * rows * columns).to(self.dtype))
        return embedding.float()

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes."""
        side = self.sam.config.image_size
        return torch.rand(1, 3, side, side) * 255, torch.tensor([side * 0.75, float(side)])


class FixedDecoder(nn.Module):
    """The folded decoder for one prompt of `FIXED_POINTS` points.

    embedding (1, C, g, g), point_coords (1, P, 2), point_labels (1, P), mask_input (1, 1, 4g, 4g), has_mask_input (1,)
    → low_res_masks (1, 4, 4g, 4g), iou_predictions (1, 4)
    """

    codes: Tensor

    def __init__(self, sam: Sam, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.sam, self.dtype = copy.deepcopy(sam), dtype
        del self.sam.image_encoder
        # Positions stay in float32: float16 has no half pixels from 1024 on, and less than that in their waves.
        for part in (self.sam.mask_decoder, self.sam.prompt_encoder.mask_downscaling):
            halve(part, dtype)
        self.register_buffer("codes", torch.tensor(CODES, dtype=torch.float32))

    def forward(
        self,
        embedding: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode one prompt."""
        encoder, dtype = self.sam.prompt_encoder, self.dtype
        tokens, ignored = self.embed_points(point_coords, point_labels)
        dense = encoder.embed_masks(mask_input.to(dtype), has_mask_input.to(dtype))
        image_pe = encoder.pe_layer.grid(*(int(side) for side in embedding.shape[2:])).to(dtype)
        image = embedding.to(dtype) + dense.to(dtype)
        masks, scores = folded.predict_masks(
            self.sam.mask_decoder, image, image_pe, tokens.to(dtype), None, ignored.to(dtype)
        )
        return masks.float(), scores.float()

    def embed_points(self, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Points (1, P, 2) and labels (1, P) → tokens (1, P + 1, C) and `IGNORED` or 0 for each (1, 1 + 4 + P + 1)."""
        encoder = self.sam.prompt_encoder
        is_code = F.relu(1 - (labels[..., None] - self.codes).abs())  # (1, P, 5), 1 where a point has that label
        table = torch.cat([*encoder.point_embeddings.parameters()])
        places = encoder.pe_layer((coords + 0.5) / self.sam.config.image_size)
        points = places + is_code[..., 1:] @ table  # (1, P, C)
        tokens = torch.cat([points, encoder.not_a_point_embed.weight[None]], dim=1)
        has_box = is_code[..., 3:].sum(dim=(1, 2)).clamp(0, 1)[:, None]  # (1, 1)
        of_outputs = torch.zeros(1, folded.NUM_OUTPUT_TOKENS)
        return tokens, IGNORED * torch.cat([of_outputs, is_code[..., 0], has_box], dim=1)

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes."""
        config = self.sam.config
        grid = config.grid
        return (
            torch.rand(1, config.embed_dim, grid, grid),
            torch.rand(1, FIXED_POINTS, 2) * grid * PATCH_SIZE,
            torch.tensor([[1.0, 0.0] + [float(LABEL_PADDING)] * (FIXED_POINTS - 2)]),
            torch.rand(1, 1, 4 * grid, 4 * grid),
            torch.zeros(1),
        )


class WideNorm(nn.LayerNorm):
    """A layer norm that is computed in float32 whatever it is given: ExecuTorch adds up squares in the type it gets."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C), and return it in the type that came in."""
        return super().forward(x.float()).to(x.dtype)


class WideNorm2d(LayerNorm2d):
    """The same for the channels of (B, C, H, W)."""

    def channels_last(self, x: Tensor) -> Tensor:
        """Normalise (..., C), and return it in the type that came in."""
        return super().channels_last(x.float()).to(x.dtype)


def halve(module: nn.Module, dtype: torch.dtype) -> None:
    """Let a module compute in another type, in place, but for its layer norms, whose squares leave float16's range."""
    module.to(dtype)
    if dtype == torch.float32:
        return
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.LayerNorm):
                wide: nn.Module = WideNorm(child.normalized_shape, child.eps)
            elif isinstance(child, LayerNorm2d):
                wide = WideNorm2d(len(child.weight), child.eps)
            else:
                continue
            wide.load_state_dict(child.state_dict())
            setattr(parent, name, wide.eval())


def with_fused_norms(sam: Sam) -> Sam:
    """Copy a network, with each batch norm that follows a convolution made a part of it."""
    sam = copy.deepcopy(sam).eval()
    for parent in list(sam.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ConvBN):
                convolution, norm = child
                assert isinstance(convolution, nn.Conv2d)
                assert isinstance(norm, nn.BatchNorm2d)
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
            elif isinstance(child, ConvNorm):
                setattr(parent, name, fused(child))
    return sam


def fused(layer: ConvNorm) -> nn.Conv2d:
    """The one convolution that an EfficientNet-Lite's convolution and its frozen norm are."""
    convolution = copy.deepcopy(layer.conv)
    weight, bias = layer.as_convolution()
    convolution.weight, convolution.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return convolution
