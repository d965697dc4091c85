"""Loading and saving checkpoints, with strict checks.

Published SAM checkpoints carry no description of themselves, so the architecture is read off their keys and
shapes. Files written by `save` carry their configuration in the safetensors metadata.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mobilesam import contract
from mobilesam.errors import ModelError, first_line
from mobilesam.files import replacing
from mobilesam.integrity import check_files, described
from mobilesam.model.bounds import check_fit, config_from
from mobilesam.model.config import (
    CONFIGS,
    EMBEDDED,
    EfficientNetLiteConfig,
    EncoderConfig,
    SamConfig,
    TinyViTConfig,
    ViTConfig,
)
from mobilesam.model.sam import Sam

_CONFIG_KEY = "mobilesam_config"
_DAMAGED = "{path} is damaged: it does not hold what was saved; copy or download it again"
_BLOCK = 2**20
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")
_PUBLISHED = {c.encoder: c.name for c in CONFIGS.values() if c.image_size == 1024}


def load(path: str | os.PathLike[str]) -> Sam:
    """Build the network that a checkpoint describes and load its weights, on the CPU, in eval mode.

    Args:
        path: `.pt` or `.pth` (read with weights_only=True), `.safetensors`, or a folder with an exported pair,
            whose initializers are the weights.

    Raises:
        ModelError: the file is missing, truncated, or not a SAM-family checkpoint; says what was expected.
    """
    path = Path(path)
    state, config = read(path)
    try:
        config = config or detect_config(state)
        check_fit(config, state)
        model = Sam(config)
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=True)
        check_finite(model.state_dict())
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (RuntimeError, ValueError, TypeError, ArithmeticError, IndexError, MemoryError) as error:
        raise ModelError(f"{path}: the weights do not fit the architecture their keys describe: {error}") from error
    return model.eval()


def check_finite(state: dict[str, Tensor]) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        ModelError: names the first.
    """
    for key, value in state.items():
        if value.is_floating_point() and not is_unused(key) and not torch.isfinite(value).all():
            raise ModelError(
                f"{key} holds values that are not finite (NaN or infinity): the training diverged or the file is "
                "damaged; take an earlier checkpoint"
            )


def save(model: Sam, path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> None:
    """Save weights and configuration as safetensors; a file is replaced only when the new one is complete.

    Args:
        dtype: storage type of floating-point tensors; `load` always gives float32 back.
    """
    path = Path(path)
    state = {
        k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
        for k, v in model.state_dict().items()
    }
    config = json.dumps(model.config.to_dict())
    with replacing(path) as partial:
        # One entry, because safetensors writes several in random order, and equal weights shall make equal files.
        save_file(state, partial, metadata={_CONFIG_KEY: f"{config}\n{_seal(state, config)}"})


def digest(state: Mapping[str, Tensor]) -> str:
    """Checksum of the weights in use: sha256 over names and float32 values, independent of the file format."""
    found = hashlib.sha256()
    for key, value in sorted(state.items()):
        if not is_unused(key):
            found.update(key.encode())
            found.update(value.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()


def read(path: Path) -> tuple[dict[str, Tensor], SamConfig | None]:
    """Read the state dict of a file, and its configuration where the file has one."""
    if path.is_dir():
        return _read_pair(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pt", ".pth"):
        return _read_torch(path), None
    raise ModelError(f"{path}: expected .pt, .pth or .safetensors, found '{path.suffix}'")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], SamConfig | None]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        if what := described(path):
            raise ModelError(f"{path}: expected a checkpoint{what}") from None
        raise ModelError(f"{path}: not a readable safetensors file, perhaps truncated ({error})") from error
    if _CONFIG_KEY not in metadata:
        # A name that is ours but for some letters is a damaged file, whose configuration must not be guessed.
        if difflib.get_close_matches(_CONFIG_KEY, metadata, cutoff=0.8):
            raise ModelError(_DAMAGED.format(path=path))
        return unprefixed(state), None
    config, _, seal = metadata[_CONFIG_KEY].partition("\n")
    if seal and seal != _seal(state, config):  # files of earlier versions have none
        raise ModelError(_DAMAGED.format(path=path))
    return state, _read_config(config, path)


def _seal(state: Mapping[str, Tensor], config: str) -> str:
    """sha256 over weights and configuration."""
    return hashlib.sha256(f"{digest(state)} {config}".encode()).hexdigest()


def _read_config(text: str, path: Path) -> SamConfig:
    try:
        return config_from(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its configuration is invalid JSON ({error}); save or export it again") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _read_torch(path: Path) -> dict[str, Tensor]:
    check_zip(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise exceptions of their own
        if what := described(path):
            raise ModelError(f"{path}: expected a checkpoint{what}") from None
        raise ModelError(
            f"{path}: expected a checkpoint that torch.load(..., weights_only=True) reads; "
            f"the file is truncated or something else ({first_line(error)})"
        ) from error
    return unprefixed(_check_tensors(_unwrapped(state), path))


def check_zip(path: Path) -> None:
    """Check what torch does not: the checksums and the unpacked size of the zip archive that a checkpoint is.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        if not zipfile.is_zipfile(path):
            return  # old checkpoints are not zip archives; torch refuses any other file
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > 4 * path.stat().st_size:
                raise ModelError(f"{path} is damaged: it would unfold to several times its size; download it again")
            if len({entry.filename for entry in entries}) != len(entries):
                raise zipfile.BadZipFile("two entries have one name")
            for entry in entries:
                with archive.open(entry) as file:
                    while file.read(_BLOCK):
                        pass
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(
            f"{path}: expected a checkpoint that torch.load(..., weights_only=True) reads; it is damaged ({error}): "
            "copy or download it again"
        ) from error


def _unwrapped(state: Any) -> Any:
    """Find the state dict inside the dictionaries that training scripts wrap around it."""
    for _ in range(3):
        inside = [state[key] for key in _WRAPPERS if isinstance(state, dict) and isinstance(state.get(key), dict)]
        if not inside:
            break
        state = inside[0]
    return state


def _check_tensors(state: Any, path: Path) -> dict[str, Tensor]:
    """Check that a state dict maps names to plain tensors whose values are all in the file.

    Raises:
        ModelError: says what was found.
    """
    if not isinstance(state, dict):
        raise ModelError(f"{path}: expected a dictionary of tensors, found {type(state).__name__}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path}: expected a dictionary of tensors by their names, found {key!r}: {type(value).__name__}; "
                f"weights may lie under {', '.join(_WRAPPERS)}"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise ModelError(f"{path}: {key} is no plain tensor ({value.layout}, {value.dtype}); save plain ones")
        if value.nbytes > value.untyped_storage().nbytes():
            raise ModelError(f"{path}: {key} claims more values than the file holds; save it by torch.save again")
    return state


def unprefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that data-parallel training and torch.compile put before each name."""
    for _ in range(len(_PREFIXES)):
        for prefix in _PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _read_pair(folder: Path) -> tuple[dict[str, Tensor], SamConfig | None]:
    """Read the weights of an exported pair, whose initializers are named by the state-dict keys."""
    import onnx  # here, so that reading a checkpoint does not need it
    from onnx import numpy_helper

    state: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    halves = (contract.ENCODER_FILE, contract.DECODER_FILE)
    check_files(folder, [name for name in halves if (folder / name).is_file()])
    for name in halves:
        try:
            model = onnx.load(folder / name)
        except FileNotFoundError:
            raise ModelError(f"{folder}: expected an exported pair, but {name} is missing") from None
        except Exception as error:  # protobuf's DecodeError lies in a private module
            raise ModelError(
                f"{folder / name}: damaged or not an ONNX model{described(folder / name)} ({error})"
            ) from error
        metadata |= {prop.key: prop.value for prop in model.metadata_props}
        for initializer in model.graph.initializer:
            state[initializer.name] = torch.from_numpy(numpy_helper.to_array(initializer).copy())
    if "config" not in metadata:
        what = described(folder / contract.ENCODER_FILE)
        raise ModelError(f"{folder}: not exported by mobilesam (no 'config' in the metadata){what}")
    config = _read_config(metadata["config"], folder)
    # The pair lacks entries that no graph uses: step counters, and the published checkpoint's ImageNet head.
    for key, value in Sam(config).state_dict().items():
        if is_unused(key):
            state[key] = torch.zeros_like(value)
    return {key: value for key, value in state.items() if "." in key}, config


def is_unused(key: str) -> bool:
    """Whether a state-dict entry has no influence on any output."""
    return key.endswith("num_batches_tracked") or key.startswith(("image_encoder.head.", "image_encoder.norm_head."))


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
