"""Loading and saving checkpoints, with strict checks.

Published SAM checkpoints carry no description of themselves, so the architecture is read off their keys and
shapes. Files written by `save` carry their configuration in the safetensors metadata.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mobilesam.errors import ModelError
from mobilesam.files import replacing
from mobilesam.integrity import described
from mobilesam.model.bounds import check_fit, config_from_json
from mobilesam.model.config import SamConfig
from mobilesam.model.detect import detect_config
from mobilesam.model.hub_folder import read_hub_folder
from mobilesam.model.pair_weights import read_pair
from mobilesam.model.sam import Sam
from mobilesam.model.state_dict import check_finite, digest, unprefixed
from mobilesam.model.torch_file import read_torch
from mobilesam.model_folder import CHECKPOINTS, choose_weights, names_in
from mobilesam.outputs import DEFAULT, Outputs

_CONFIG_KEY = "mobilesam_config"
_DAMAGED = "{path} is damaged: it does not hold what was saved; copy or download it again"


def load(path: str | os.PathLike[str]) -> Sam:
    """Build the network that a checkpoint describes and load its weights, on the CPU, in eval mode.

    Args:
        path: `.pt`, `.pth`, `.ckpt` or `.bin` (read with weights_only=True), `.safetensors`, or a folder: of the
            Hugging Face Hub's form (`mobilesam.model_folder`), or with an exported pair, whose initializers are the
            weights.

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


def save(
    model: Sam,
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    outputs: Outputs = DEFAULT,
) -> None:
    """Save weights and configuration as safetensors; a file is replaced only when the new one is complete.

    Args:
        dtype: storage type of floating-point tensors; `load` always gives float32 back.
        outputs: the rule for what may be replaced.

    Raises:
        OutputError: another's file is there.
    """
    path = Path(path)
    state = {
        k: v.detach().to("cpu", dtype if v.is_floating_point() else v.dtype).contiguous()
        for k, v in model.state_dict().items()
    }
    config = json.dumps(model.config.to_dict())
    with replacing(path, outputs) as partial:
        # One entry, because safetensors writes several in random order, and equal weights shall make equal files.
        save_file(state, partial, metadata={_CONFIG_KEY: f"{config}\n{_seal(state, config)}"})


def read(path: Path) -> tuple[dict[str, Tensor], SamConfig | None]:
    """Read the state dict of a file or a folder, and its configuration where it has one."""
    if path.is_dir():
        name = choose_weights(names_in(path), path)
        return read_pair(path) if name is None else read_hub_folder(path, name, read)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _read_safetensors(path)
    if suffix in CHECKPOINTS:
        return read_torch(path), None
    raise ModelError(f"{path}: expected a file {', '.join(CHECKPOINTS)}, found '{path.suffix}'")


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
    return state, config_from_json(config, path)


def _seal(state: Mapping[str, Tensor], config: str) -> str:
    """sha256 over weights and configuration."""
    return hashlib.sha256(f"{digest(state)} {config}".encode()).hexdigest()
