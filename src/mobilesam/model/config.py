"""Configurations of the networks, and the named ones that the package knows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from mobilesam.contract import check_side
from mobilesam.errors import SettingsError
from mobilesam.recipe import from_dict
from mobilesam.settings import Count, CountOrZero, Positive, Probability, Range, Settings

Four = tuple[Count, Count, Count, Count]
Seven = tuple[Count, Count, Count, Count, Count, Count, Count]


@dataclass(frozen=True, kw_only=True)
class TinyViTConfig(Settings):
    """A TinyViT image encoder (arXiv 2207.10666) with its last stride removed (arXiv 2306.14289, section 4.1)."""

    embed_dims: Four
    """Channels of the four stages."""
    depths: Four
    """Their numbers of blocks."""
    num_heads: Four
    """Attention heads of each stage; the first stage has no attention."""
    window_sizes: Four
    """Sides of the attention windows, in cells."""
    mlp_ratio: Positive = 4.0
    """Hidden channels of an MLP, as a multiple of its input channels."""
    mbconv_expand_ratio: Positive = 4.0
    """Hidden channels of the first stage's blocks, as a multiple of their input channels."""
    num_classes: CountOrZero = 0
    """Rows of the unused ImageNet head that the published checkpoint still carries; 0 leaves the head out."""
    neck_groups: Count = 1
    """Groups of the neck's 3×3 convolution. SAM's 1 costs 0.6 M parameters, more than a very small encoder has."""


@dataclass(frozen=True, kw_only=True)
class ViTConfig(Settings):
    """A plain ViT image encoder with windowed attention and relative positions, as in SAM (arXiv 2304.02643)."""

    embed_dim: Count
    """Channels of every block."""
    depth: Count
    """Number of blocks."""
    num_heads: Count
    """Attention heads of a block."""
    global_attention_blocks: tuple[CountOrZero, ...]
    """Numbers of the blocks, from 0, that attend to the whole grid instead of windows."""
    window_size: Count = 14
    """Side of an attention window, in cells."""
    mlp_ratio: Positive = 4.0
    """Hidden channels of an MLP, as a multiple of its input channels."""


@dataclass(frozen=True, kw_only=True)
class EfficientNetLiteConfig(Settings):
    """An EfficientNet-Lite image encoder (arXiv 1905.11946): convolutions only, so its input may have any side."""

    widths: Seven
    """Channels of the seven stages."""
    depths: Seven
    """Their numbers of blocks."""
    stem: Count = 32
    """Channels of the first convolution."""


EncoderConfig = TinyViTConfig | ViTConfig | EfficientNetLiteConfig
KINDS: dict[str, type[EncoderConfig]] = {
    "tiny_vit": TinyViTConfig,
    "vit": ViTConfig,
    "efficientnet_lite": EfficientNetLiteConfig,
}
"""Encoder kinds by the name that a saved configuration uses."""

FREE_SIDES = range(256, 1024 + 1, 32)
"""Sides in pixels at which a convolutional encoder is offered, whatever side it was trained at."""


@dataclass(frozen=True, kw_only=True)
class SamConfig(Settings):
    """Image encoder, prompt encoder and mask decoder of one model."""

    name: str
    """Name as in `mobilesam models`; "custom" where it is unknown."""
    image_size: Annotated[int, Range(low=32, multiple_of=16)]
    """Side in pixels of the padded square the network is made for; a multiple of 32 for an EfficientNet-Lite."""
    encoder: EncoderConfig
    """The image encoder."""
    embed_dim: Count = 256
    """Channels of the image embedding and of every prompt token."""
    decoder_mlp_dim: Count = 2048
    """Hidden channels of the mask decoder's MLPs."""
    decoder_heads: Count = 8
    """Attention heads of the mask decoder."""
    mask_channels: Count = 16
    """Channels inside the prompt encoder's mask branch."""
    smooth_masks: bool = False
    """Whether each logit is averaged with its neighbours. SAM up-scales by two transposed convolutions whose four
    phases have separate weights, which shows as a checkerboard where the network is unsure."""
    logit_shift: float = 0.0
    """Added to every logit of the masks, and taken off a mask that comes back as a prompt; positive where masks were
    measured to be too small on average."""
    outside_box: Annotated[float, Range(low=0)] = 0.0
    """Subtracted from logits outside a prompt's box, which is taken to enclose the object; 0 for none."""
    zoom_below: Probability = 0.0
    """Boxes whose longer side is below this fraction of the photo's are predicted again on an enlarged crop (a second
    look) by default; 0 for none."""
    click_zoom_below: Probability = 0.0
    """The same for the box of the mask that a click found."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.encoder, EfficientNetLiteConfig) and self.image_size % 32:
            raise SettingsError(f"'image_size' must be a multiple of 32, found {self.image_size}")

    @property
    def sides(self) -> range:
        """Input sides that may be chosen besides `image_size`; empty where attention fixes the side."""
        return FREE_SIDES if isinstance(self.encoder, EfficientNetLiteConfig) else range(0)

    def at(self, side: int) -> SamConfig:
        """The same configuration with another input side.

        Raises:
            SettingsError: its encoder cannot take that side.
        """
        return replace(self, image_size=check_side(side, self.image_size, self.sides, self.name))

    @property
    def grid(self) -> int:
        """Side of the embedding in cells."""
        return self.image_size // 16

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data that `from_dict` reads back."""
        kind = next(name for name, cls in KINDS.items() if isinstance(self.encoder, cls))
        return {**asdict(self), "encoder": {"kind": kind, **asdict(self.encoder)}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SamConfig:
        """Inverse of `to_dict`.

        Raises:
            SettingsError: there is no encoder of that kind, or a key or a value is wrong.
        """
        sizes = dict(data.get("encoder", {}))
        kind = sizes.pop("kind", "none")
        if kind not in KINDS:
            raise SettingsError(f"the encoder is '{kind}', which this version does not know; known: {', '.join(KINDS)}")
        return from_dict(cls, {**data, "encoder": from_dict(KINDS[kind], sizes)})


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

SAM_VIT_B, SAM_VIT_L, SAM_VIT_H = (
    SamConfig(
        name=name,
        image_size=1024,
        encoder=ViTConfig(embed_dim=dim, depth=depth, num_heads=heads, global_attention_blocks=blocks),
    )
    for name, dim, depth, heads, blocks in (
        ("sam_vit_b", 768, 12, 12, (2, 5, 8, 11)),
        ("sam_vit_l", 1024, 24, 16, (5, 11, 17, 23)),
        ("sam_vit_h", 1280, 32, 16, (7, 15, 23, 31)),
    )
)

# The sizes of the published ImageNet weights: the Lite variant leaves the stem, the first and the last stage alone.
EFFICIENTNET_LITE = {
    "lite0": EfficientNetLiteConfig(widths=(16, 24, 40, 80, 112, 192, 320), depths=(1, 2, 2, 3, 3, 4, 1)),
    "lite1": EfficientNetLiteConfig(widths=(16, 24, 40, 80, 112, 192, 320), depths=(1, 3, 3, 4, 4, 5, 1)),
    "lite2": EfficientNetLiteConfig(widths=(16, 24, 48, 88, 120, 208, 352), depths=(1, 3, 3, 4, 4, 5, 1)),
}

# Trained by this project. The thresholds for second looks were measured: docs/results/second_look.md; so were the shift
# of the logits and what a box means for them: docs/results/embedded.md.
EMBEDDED = SamConfig(
    name="embedded",
    image_size=512,
    encoder=EFFICIENTNET_LITE["lite0"],
    smooth_masks=True,
    logit_shift=0.5,
    outside_box=3.0,
    zoom_below=0.4,
    click_zoom_below=0.5,
)
EMBEDDED_LITE1, EMBEDDED_LITE2 = (
    replace(EMBEDDED, name=f"embedded_{size}", encoder=EFFICIENTNET_LITE[size]) for size in ("lite1", "lite2")
)

# The embedded model of version 0.1, since then a student of the new one. Windows of 8 and 16 tile the grids of 256 and
# 512 px without padding.
EMBEDDED_TINY_VIT = SamConfig(
    name="embedded_tiny_vit",
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

# The same for a convolutional encoder, and with smooth and shifted masks; by less than random weights answer, so that
# masks of random weights have both values.
TINY_LITE = replace(
    TINY,
    name="tiny_lite",
    smooth_masks=True,
    logit_shift=0.01,
    encoder=EfficientNetLiteConfig(widths=(4, 4, 8, 8, 8, 16, 16), depths=(1, 1, 2, 1, 1, 1, 1), stem=4),
)

CONFIGS = {
    c.name: c
    for c in (
        TINY, TINY_LITE, EMBEDDED, EMBEDDED_LITE1, EMBEDDED_LITE2, EMBEDDED_TINY_VIT, MOBILE_SAM,
        SAM_VIT_B, SAM_VIT_L, SAM_VIT_H,
    )
}  # fmt: skip
