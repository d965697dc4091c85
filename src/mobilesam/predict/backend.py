"""What runs a model's two halves. The seam between the predictor and a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilesam.contract import PATCH_SIZE

Floats = NDArray[np.float32]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class ModelInfo:
    """What a client must know of a model; travels in the ONNX metadata."""

    name: str
    image_size: int
    embed_dim: int
    licence: str
    weights_sha256: str
    """Identity of the weights, the same for every backend: an embedding fits exactly one."""
    zoom_below: float = 0.0
    """A box whose longer side is below this share of the photo's gets a second look by itself; 0 is never."""
    click_zoom_below: float = 0.0
    """The same for clicks, by the box of the first look's best mask."""

    @property
    def grid(self) -> int:
        """Side of the embedding in cells."""
        return self.image_size // PATCH_SIZE

    @property
    def low_res(self) -> int:
        """Side of the mask logits."""
        return 4 * self.grid

    @property
    def prompts_per_call(self) -> int:
        """How many prompts the decoder takes at once: more save time, and memory grows with their logits."""
        return max(16, min(32, 2**20 // self.low_res**2))


class Backend(Protocol):
    """Runs the encoder and the decoder of `mobilesam.contract`; safe to call from several threads."""

    @property
    def info(self) -> ModelInfo:
        """The model it runs."""
        ...

    def encode(self, image: Floats) -> Floats:
        """(B, 3, H, W) RGB 0-255, long side at image_size → (B, C, g, g)."""
        ...

    def decode(
        self,
        embedding: Floats,
        point_coords: Floats,
        point_labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
        min_score: float = -np.inf,
    ) -> tuple[Floats, Floats]:
        """(1, C, g, g), N prompts and a mask input each or one for all → logits (S, 4, 4g, 4g), scores (N, 4).

        Only the S prompts whose best score exceeds `min_score` get logits, in their order.
        """
        ...
