"""Networks with made-up weights, of the official sizes and of the smallest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mobilesam.model.config import TINY, ViTConfig
from mobilesam.model.detect import detect_config
from mobilesam.model.sam import Sam
from tests.helpers.standin import fill, spec


def build(kind: str) -> Sam:
    state = {key: torch.from_numpy(np.asarray(array)) for key, array in fill(spec(kind)).items()}
    model = Sam(detect_config(state))
    model.load_state_dict(state, strict=True)
    return model.eval()


TINY_VIT = replace(
    TINY,
    name="tiny_vit",
    encoder=ViTConfig(embed_dim=16, depth=2, num_heads=2, global_attention_blocks=(1,), window_size=3),
)
"""A plain ViT as SAM's, with a block of windows that need padding and one that attends to the whole grid."""
POSITIONS = ("attention_biases", "rel_pos_h", "rel_pos_w")


def with_positions(sam: Sam) -> Sam:
    """Make what an attention encoder adds for relative positions random, in place: as zeros, wrong ones pass."""
    for name, value in sam.state_dict().items():
        if name.endswith(POSITIONS):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    return sam.eval()
