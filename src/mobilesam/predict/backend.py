"""What runs a model's two halves. The seam between the predictor and a runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mobilesam.choices import Precision as Precision
from mobilesam.contract import PATCH_SIZE, check_side, read_sides

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ModelInfo:
    """What a client must know of a model; travels in the ONNX metadata."""

    name: str
    image_size: int
    embed_dim: int
    licence: str
    weights_sha256: str
    """Identity of the weights, the same for every backend: an embedding fits exactly one."""
    image_sizes: str = ""
    """Other sides that the model may be loaded at, as "256-1024/32"; empty where attention fixes its side."""
    zoom_below: float = 0.0
    """A box whose longer side is below this share of the photo's gets a second look by itself; 0 is never."""
    click_zoom_below: float = 0.0
    """The same for clicks, by the box of the first look's best mask."""

    @property
    def sides(self) -> range:
        """`image_sizes` in pixels."""
        return read_sides(self.image_sizes)

    def at(self, image_size: int | None) -> ModelInfo:
        """The same model, loaded at another side of the picture; None for its own.

        Raises:
            SettingsError: it cannot take that side.
        """
        if image_size is None:
            return self
        check_side(image_size, self.image_size, self.sides, self.name)
        return replace(self, image_size=image_size)

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
        """(1 or N, C, g, g), N prompts, a mask input each or one for all → logits (S, 4, 4g, 4g), scores (N, 4).

        Only the S prompts whose best score exceeds `min_score` get logits, in their order.
        """
        ...
