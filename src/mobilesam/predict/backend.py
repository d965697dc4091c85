"""What runs a model's two halves. The seam between the predictor and a runtime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mobilesam import contract
from mobilesam.contract import PATCH_SIZE
from mobilesam.errors import ModelError

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


def graph_file(folder: str | os.PathLike[str], name: str) -> Path:
    """One graph of an exported pair.

    Raises:
        ModelError: it is not there.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist; a model folder holds {contract.ENCODER_FILE}, {contract.DECODER_FILE}"
        )
    return path


def check_many(data: Mapping[str, str], path: Path) -> None:
    """Check by its metadata that a decoder for many prompts fits the decoder.onnx beside it, its weights.

    Raises:
        ModelError: it was exported with another one.
    """
    content = graph_file(path.parent, contract.DECODER_FILE).read_bytes()
    if data.get(contract.MANY_DECODER_SHA256) != hashlib.sha256(content).hexdigest():
        raise ModelError(f"{path} was exported with another {contract.DECODER_FILE}; export them again, or delete it")


def decoder_feed(inputs: tuple[Floats, ...], min_score: float) -> dict[str, Floats]:
    """The exported decoder's inputs by their names; `inputs` in the contract's order."""
    feed = dict(zip(contract.DECODER_INPUTS, inputs, strict=True))
    return {**feed, contract.DECODER_MIN_SCORE: np.array(min_score, np.float32)}


def many_feed(feed: Mapping[str, Floats]) -> dict[str, Floats] | None:
    """The inputs of the decoder for many prompts; None where it does not serve or is not worth it."""
    num_prompts, num_points, _ = feed["point_coords"].shape
    if num_prompts < contract.MANY_PROMPTS or num_points > contract.MANY_POINTS or feed["has_mask_input"].any():
        return None
    return {name: feed[name] for name in contract.MANY_INPUTS}


def read_info(data: Mapping[str, str], folder: str | os.PathLike[str]) -> ModelInfo:
    """What a graph's metadata says of its model.

    Raises:
        ModelError: it was not exported by this package, or under another contract.
    """
    missing = [key for key in contract.METADATA_KEYS if key not in data]
    if missing:
        raise ModelError(f"{folder}: not exported by mobilesam (no {', '.join(missing)} in the metadata)")
    if data["contract_version"] != contract.VERSION:
        raise ModelError(
            f"{folder}: contract {data['contract_version']}, this package reads {contract.VERSION}; export it again"
        )
    return ModelInfo(
        name=data["model_name"],
        image_size=int(data["image_size"]),
        embed_dim=int(data["embed_dim"]),
        licence=data["licence"],
        weights_sha256=data["weights_sha256"],
    )
