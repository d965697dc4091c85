"""Modules to trace for export: encoder and decoders with the inputs and outputs of `mobilesam.contract`.

Submodules keep the names they have in `Sam`, so that an initializer's name in the ONNX file is the official
state-dict key and the weights can be read back from the pair.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilesam.export import folded, low_rank
from mobilesam.model.sam import Sam

# B images, N prompts, P points, C channels, g grid


class EncoderGraph(nn.Module):
    """image (B, 3, H, W) 0-255 → embedding (B, C, g, g); normalisation and padding inside.

    Where the encoder takes any side, the longer of H and W is the side of the padded square.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self._sam = (sam,)  # in a tuple, so that its parameters are not registered twice

    def forward(self, image: Tensor) -> Tensor:
        sam = self._sam[0]
        if not sam.config.sides:
            return sam.encode(image)
        height, width = (torch.as_tensor(side) for side in image.shape[-2:])  # traced, so that the graph computes it
        return self.image_encoder(sam.normalise_and_pad(image, torch.maximum(height, width)))  # type: ignore[arg-type]


class PromptHalf(nn.Module):
    """Base of the decoder graphs: prompt encoder and mask decoder of a network."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder
        self._sam = (sam,)


class DecoderGraph(PromptHalf):
    """The decoder of the contract, in folded form."""

    def forward(
        self,
        embedding: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        min_score: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        return folded.decode(self._sam[0], embedding, point_coords, point_labels, mask_input, has_mask_input, min_score)


class ManyDecoderGraph(PromptHalf):
    """The decoder of the contract for many prompts, in low-rank form."""

    def forward(
        self, embedding: Tensor, point_coords: Tensor, point_labels: Tensor, min_score: Tensor
    ) -> tuple[Tensor, Tensor]:
        return low_rank.decode(self._sam[0], embedding, point_coords, point_labels, min_score)


class SamDecoderGraph(nn.Module):
    """The decoder with the six inputs and three outputs of SAM's official export script, for existing clients.

    One prompt per call; four masks; masks are resized inside the graph with the reference's three steps.
    https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/utils/onnx.py
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.decoder = DecoderGraph(sam)
        self.image_size = sam.config.image_size

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        low_res, scores = self.decoder(image_embeddings, point_coords, point_labels, mask_input, has_mask_input)
        return self.upscale(low_res, orig_im_size), scores, low_res

    def upscale(self, low_res: Tensor, orig_im_size: Tensor) -> Tensor:
        """Resize (1, 4, 4g, 4g) logits to the square, crop its padding, and resize to the photo: (1, 4, H, W)."""
        square = F.interpolate(low_res, (self.image_size, self.image_size), mode="bilinear", align_corners=False)
        scale = self.image_size / torch.max(orig_im_size)
        input_hw = torch.floor(scale * orig_im_size + 0.5).to(torch.int64)
        cropped = square[..., : input_hw[0], : input_hw[1]]
        height, width = orig_im_size.to(torch.int64)
        return F.interpolate(cropped, (height, width), mode="bilinear", align_corners=False)
