"""Sizes of the networks, as data. A size is a Python constant, never a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TinyViTConfig:
    """A TinyViT image encoder (arXiv 2207.10666) with its last stride removed (arXiv 2306.14289, section 4.1)."""

    embed_dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    num_heads: tuple[int, int, int, int]
    window_sizes: tuple[int, int, int, int]
    mlp_ratio: float = 4.0
    mbconv_expand_ratio: float = 4.0
    num_classes: int = 0
    """Rows of the unused ImageNet head that the published checkpoint still carries; 0 leaves the head out."""
    neck_groups: int = 1
    """Groups of the neck's 3×3 convolution. SAM's 1 costs 0.6 M parameters, more than a very small encoder has."""


@dataclass(frozen=True)
class ViTConfig:
    """A plain ViT image encoder with windowed attention and relative positions, as in SAM (arXiv 2304.02643)."""

    embed_dim: int
    depth: int
    num_heads: int
    global_attention_blocks: tuple[int, ...]
    window_size: int = 14
    mlp_ratio: float = 4.0


@dataclass(frozen=True)
class SamConfig:
    """Image encoder, prompt encoder and mask decoder of one model."""

    name: str
    image_size: int
    """Side in pixels of the padded square the network is made for; a multiple of 16."""
    encoder: TinyViTConfig | ViTConfig
    embed_dim: int = 256
    """Channels of the image embedding and of every prompt token."""
    decoder_mlp_dim: int = 2048
    decoder_heads: int = 8
    mask_channels: int = 16
    """Channels inside the prompt encoder's mask branch."""

    def __post_init__(self) -> None:
        if self.image_size % 16 or self.image_size < 32:
            raise ValueError(f"image_size must be a multiple of 16 and at least 32, not {self.image_size}")

    @property
    def grid(self) -> int:
        """Side of the embedding in cells."""
        return self.image_size // 16

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data that `from_dict` reads back."""
        kind = "tiny_vit" if isinstance(self.encoder, TinyViTConfig) else "vit"
        return {**asdict(self), "encoder": {"kind": kind, **asdict(self.encoder)}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SamConfig:
        """Inverse of `to_dict`; lists become tuples."""
        encoder: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data["encoder"].items() if k != "kind"
        }
        kind = TinyViTConfig if data["encoder"]["kind"] == "tiny_vit" else ViTConfig
        return cls(**{**data, "encoder": kind(**encoder)})


MOBILE_SAM = SamConfig(
    name="mobile_sam",
    image_size=1024,
    encoder=TinyViTConfig(
        embed_dims=(64, 128, 160, 320),
        depths=(2, 2, 6, 2),
        num_heads=(2, 4, 5, 10),
        window_sizes=(7, 7, 14, 7),
        num_classes=1000,
    ),
)

SAM_VIT_B = SamConfig("sam_vit_b", 1024, ViTConfig(768, 12, 12, (2, 5, 8, 11)))
SAM_VIT_L = SamConfig("sam_vit_l", 1024, ViTConfig(1024, 24, 16, (5, 11, 17, 23)))
SAM_VIT_H = SamConfig("sam_vit_h", 1024, ViTConfig(1280, 32, 16, (7, 15, 23, 31)))

# What the project trains itself. Windows of 8 and 16 tile the grids of 256 and 512 px without padding.
EMBEDDED = SamConfig(
    name="embedded",
    image_size=256,
    encoder=TinyViTConfig(
        embed_dims=(32, 64, 128, 256),
        depths=(1, 2, 4, 2),
        num_heads=(1, 2, 4, 8),
        window_sizes=(8, 8, 16, 8),
        mlp_ratio=2.0,
    ),
)

# Small enough that a test may train it, and shaped to meet window padding (grid 4, windows of 3).
TINY = SamConfig(
    name="tiny",
    image_size=64,
    encoder=TinyViTConfig(
        embed_dims=(8, 8, 16, 16),
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
        window_sizes=(3, 3, 3, 3),
        mlp_ratio=2.0,
        mbconv_expand_ratio=2.0,
    ),
    embed_dim=32,
    decoder_mlp_dim=32,
    decoder_heads=2,
    mask_channels=8,
)

CONFIGS = {c.name: c for c in (TINY, EMBEDDED, MOBILE_SAM, SAM_VIT_B, SAM_VIT_L, SAM_VIT_H)}
