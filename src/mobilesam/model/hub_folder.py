"""Reads the weights of a Hugging Face-style folder: `config.json` beside `model.safetensors` or `pytorch_model.bin`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from mobilesam.errors import ModelError
from mobilesam.model.bounds import config_from
from mobilesam.model.config import SamConfig
from mobilesam.model.transformers_names import config_of
from mobilesam.model_folder import CONFIG, INDEX, OUR_CONFIG, OURS, TRANSFORMERS, parts_of, read_config

Read = tuple[dict[str, Tensor], SamConfig | None]


def read_hub_folder(folder: Path, name: str, read_file: Callable[[Path], Read]) -> Read:
    """Read the weights and the configuration of a folder.

    Args:
        folder: with `config.json`, or without, where the weights tell their architecture.
        name: of the file with the weights, or of the index of its parts.
        read_file: reads one file of weights.

    Raises:
        ModelError: a part is missing, parts share a name, or `config.json` describes another network.
    """
    described = configuration(read_config(folder), folder)
    state: dict[str, Tensor] = {}
    config: SamConfig | None = None
    for part in parts_of(folder / name) if name.endswith(INDEX) else [name]:
        found, config = read_file(folder / part)
        if shared := state.keys() & found.keys():
            raise ModelError(f"{folder}: two parts hold '{min(shared)}'; download the model again")
        state |= found
    if config is not None and described is not None and config != described:
        raise ModelError(
            f"{folder}: {CONFIG} and {name} describe different networks; the weights carry theirs, so take {CONFIG} "
            "from the same export"
        )
    return state, config or described


def configuration(config: dict[str, Any], folder: Path) -> SamConfig | None:
    """The network that `config.json` describes; None where it describes none."""
    try:
        if config.get("model_type") == OURS:
            if OUR_CONFIG not in config:
                raise ModelError(f"{CONFIG} lacks '{OUR_CONFIG}'; export the model again")
            return config_from(config[OUR_CONFIG])
        return config_of(config) if config.get("model_type") == TRANSFORMERS else None
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from None
