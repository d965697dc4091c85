"""Infers the architecture of a checkpoint that carries no description of itself from its keys and shapes."""

from __future__ import annotations

import math

from torch import Tensor

from mobilesam.errors import ModelError
from mobilesam.model.bounds import config_from
from mobilesam.model.config import (
    CONFIGS,
    EMBEDDED,
    EfficientNetLiteConfig,
    EncoderConfig,
    SamConfig,
    TinyViTConfig,
    ViTConfig,
)

_PUBLISHED = {c.encoder: c.name for c in CONFIGS.values() if c.image_size == 1024}


def detect_config(state: dict[str, Tensor]) -> SamConfig:
    """Infer the architecture from the keys and shapes of a SAM-family state dict.

    The image size of a TinyViT or an EfficientNet-Lite is not in its weights. The published 1024 is assumed for the
    one, and the embedded model's for the other, which takes any.

    Raises:
        ModelError: the keys are not those of a SAM.
    """
    encoder: EncoderConfig
    try:
        if "image_encoder.pos_embed" in state:
            encoder, image_size = _detect_vit(state)
        elif "image_encoder.patch_embed.seq.0.c.weight" in state:
            encoder, image_size = _detect_tiny_vit(state), 1024
        elif "image_encoder.stages.0.0.depthwise.conv.weight" in state:
            encoder, image_size = _detect_efficientnet_lite(state), EMBEDDED.image_size
        else:
            sample = ", ".join(list(state)[:3]) or "nothing"
            raise ModelError(
                "not a SAM checkpoint: expected keys such as image_encoder.pos_embed (ViT), "
                "image_encoder.patch_embed.seq.0.c.weight (TinyViT) or "
                f"image_encoder.stages.0.0.depthwise.conv.weight (EfficientNet-Lite), found {sample}"
            )
        embed_dim = state["prompt_encoder.no_mask_embed.weight"].shape[1]
        mlp_dim = state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]
        mask_channels = state["prompt_encoder.mask_downscaling.3.weight"].shape[0]
    except KeyError as error:
        raise ModelError(f"not a whole SAM checkpoint: the key {error} is missing") from None
    except (ValueError, IndexError, ArithmeticError) as error:
        raise ModelError(f"not a SAM checkpoint: a tensor has a shape that no SAM has ({error})") from None
    found = SamConfig(
        name=_PUBLISHED.get(encoder, "custom"),
        image_size=image_size,
        encoder=encoder,
        embed_dim=embed_dim,
        decoder_mlp_dim=mlp_dim,
        mask_channels=mask_channels,
    )
    return config_from(found.to_dict())


def _detect_vit(state: dict[str, Tensor]) -> tuple[ViTConfig, int]:
    prefix = "image_encoder."
    _, grid, _, dim = state[f"{prefix}pos_embed"].shape
    depth = _count(state, f"{prefix}blocks.")
    tables = [state[f"{prefix}blocks.{i}.attn.rel_pos_h"] for i in range(max(1, depth))]
    # A windowed block has a shorter table than a global one.
    sizes = [(table.shape[0] + 1) // 2 for table in tables]
    config = ViTConfig(
        embed_dim=dim,
        depth=depth,
        num_heads=dim // tables[0].shape[1],
        global_attention_blocks=tuple(i for i, size in enumerate(sizes) if size == grid),
        window_size=next((size for size in sizes if size != grid), 14),
        mlp_ratio=state[f"{prefix}blocks.0.mlp.lin1.weight"].shape[0] / dim,
    )
    return config, grid * 16


def _detect_tiny_vit(state: dict[str, Tensor]) -> TinyViTConfig:
    layers = [f"image_encoder.layers.{i}." for i in range(4)]
    convs = state[f"{layers[0]}blocks.0.conv1.c.weight"]
    biases = [state[f"{layer}blocks.0.attn.attention_biases"] for layer in layers[1:]]
    dims = [convs.shape[1]] + [state[f"{layer}blocks.0.attn.proj.weight"].shape[0] for layer in layers[1:]]
    heads = [b.shape[0] for b in biases]
    windows = [math.isqrt(b.shape[1]) for b in biases]
    head = state.get("image_encoder.head.weight")
    return TinyViTConfig(
        embed_dims=_four(dims),
        depths=_four([_count(state, f"{layer}blocks.") for layer in layers]),
        num_heads=_four([max(1, dims[0] // 32), *heads]),
        window_sizes=_four([windows[0], *windows]),
        mlp_ratio=state[f"{layers[1]}blocks.0.mlp.fc1.weight"].shape[0] / dims[1],
        mbconv_expand_ratio=convs.shape[0] / convs.shape[1],
        num_classes=0 if head is None else head.shape[0],
    )


def _detect_efficientnet_lite(state: dict[str, Tensor]) -> EfficientNetLiteConfig:
    stages = [f"image_encoder.stages.{i}." for i in range(7)]
    a, b, c, d, e, f, g = (state[f"{stage}0.project.conv.weight"].shape[0] for stage in stages)
    h, i, j, k, m, n, o = (_count(state, stage) for stage in stages)
    stem = state["image_encoder.stem.conv.weight"].shape[0]
    return EfficientNetLiteConfig(widths=(a, b, c, d, e, f, g), depths=(h, i, j, k, m, n, o), stem=stem)


def _four(values: list[int]) -> tuple[int, int, int, int]:
    a, b, c, d = values
    return a, b, c, d


def _count(state: dict[str, Tensor], prefix: str) -> int:
    """Count the numbered submodules under a prefix."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})
