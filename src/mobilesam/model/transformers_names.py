"""Translation of transformers' `SamModel`: names of its weights, and its configuration.

transformers holds the networks of SAM (ViT-B, L and H) under names of its own. It has no other encoders, so a TinyViT
or an EfficientNet-Lite is no `SamModel`, and is never translated into one.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from mobilesam.errors import ModelError
from mobilesam.model.bounds import config_from
from mobilesam.model.config import CONFIGS, SamConfig, ViTConfig

VISION = "vision_encoder."
_SIGN = f"{VISION}patch_embed.projection.weight"
_TIED, _POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
_MLP = r"((?:output_hypernetworks_mlps\.\d+|iou_prediction_head)\.)"
_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (rf"^{_POSITIONS}$", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
        (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
        (_MLP + r"layers\.0\.", r"\1layers.1."),  # before the next: what it makes must not be changed again
        (_MLP + r"proj_in\.", r"\1layers.0."),
        (_MLP + r"proj_out\.", r"\1layers.2."),
        (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.", "image_encoder."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
    )
]

# What our network has built in: (section of config.json, key, its only value).
_FIXED: tuple[tuple[str, str, Any], ...] = (
    ("vision_config", "hidden_act", "gelu"),
    ("vision_config", "layer_norm_eps", 1e-6),
    ("vision_config", "qkv_bias", True),
    ("vision_config", "use_abs_pos", True),
    ("vision_config", "use_rel_pos", True),
    ("vision_config", "num_channels", 3),
    ("vision_config", "patch_size", 16),
    ("prompt_encoder_config", "hidden_act", "gelu"),
    ("prompt_encoder_config", "num_point_embeddings", 4),
    ("mask_decoder_config", "hidden_act", "relu"),
    ("mask_decoder_config", "attention_downsample_rate", 2),
    ("mask_decoder_config", "iou_head_depth", 3),
    ("mask_decoder_config", "num_hidden_layers", 2),
    ("mask_decoder_config", "num_multimask_outputs", 3),
)


def is_transformers(state: dict[str, Tensor]) -> bool:
    """Whether weights have the names of transformers' `SamModel`."""
    return _SIGN in state


def to_sam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of a `SamModel` the names of the published checkpoints.

    Raises:
        ModelError: the two copies of the position code, which transformers keeps equal, differ.
    """
    state = dict(state)
    tied = state.pop(_TIED, None)
    if tied is not None and not torch.equal(tied, state.setdefault(_POSITIONS, tied)):
        raise ModelError(f"{_TIED} and {_POSITIONS} differ; in SAM they are one: save the model again")
    return {renamed(key): value for key, value in state.items()}


def renamed(key: str) -> str:
    """One name of a `SamModel` as SAM has it; a name that SAM lacks stays as it is."""
    for pattern, replacement in _RULES:
        key = pattern.sub(replacement, key)
    return key


def config_of(config: dict[str, Any]) -> SamConfig:
    """The sizes that a `config.json` of transformers' `SamModel` describes; what it leaves out is ViT-B's.

    Raises:
        ModelError: it describes a network that differs from SAM's in more than its sizes, or is damaged.
    """
    for section, key, value in _FIXED:
        found = _section(config, section).get(key, value)
        if found != value:
            raise ModelError(f"config.json: {section}.{key} is {found!r}; the network here has {value!r} built in")
    vision, prompts, decoder = (
        _section(config, name) for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    )
    dim = vision.get("hidden_size", 768)
    hidden = vision.get("mlp_dim") or dim * vision.get("mlp_ratio", 4.0)
    try:
        encoder = ViTConfig(
            embed_dim=dim,
            depth=vision.get("num_hidden_layers", 12),
            num_heads=vision.get("num_attention_heads", 12),
            global_attention_blocks=tuple(vision.get("global_attn_indexes", (2, 5, 8, 11))),
            window_size=vision.get("window_size", 14),
            mlp_ratio=hidden / dim,
        )
        found = SamConfig(
            name=next((one.name for one in CONFIGS.values() if one.encoder == encoder), "custom"),
            image_size=vision.get("image_size", 1024),
            encoder=encoder,
            embed_dim=vision.get("output_channels", 256),
            decoder_mlp_dim=decoder.get("mlp_dim", 2048),
            decoder_heads=decoder.get("num_attention_heads", 8),
            mask_channels=prompts.get("mask_input_channels", 16),
        )
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ModelError(f"config.json describes no SAM: {error}; download it again") from error
    return config_from(found.to_dict())


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    found = config.get(name, {})
    if not isinstance(found, dict):
        raise ModelError(f"config.json: {name} must be an object, not {type(found).__name__}; download it again")
    return found
