"""The files of a folder that holds a model: its weights, a pair, and the `config.json` of the Hugging Face Hub.

    weights.safetensors            a training run's folder
    model.safetensors              what the Hub's libraries write, also in several parts with an index
    pytorch_model.bin              the same by older versions of them
    encoder.onnx, decoder.onnx     a pair (`mobilesam export`)
    config.json                    says which network the weights are for

The same rules choose files of a folder here and of a repository on the Hub, from their names alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mobilesam import contract
from mobilesam.errors import DataError, ModelError
from mobilesam.integrity import described
from mobilesam.text import parse_json

CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""Suffixes of checkpoints, in lower case; all but the last are files of torch.save."""
RUN_WEIGHTS = "weights.safetensors"
"""File of the averaged weights in a training run's folder, which is used when a model is given by that folder."""
HUB_WEIGHTS = "model.safetensors"
CONFIG = "config.json"
INDEX = ".index.json"
"""Ends the name of the file that lists the parts of weights that are split over several files."""
USUAL = (RUN_WEIGHTS, HUB_WEIGHTS, HUB_WEIGHTS + INDEX, "pytorch_model.bin", "pytorch_model.bin" + INDEX)
"""Weights by the names that programs give them, the first that there is."""
PAIR = (contract.ENCODER_FILE, contract.DECODER_FILE)
BESIDE_A_PAIR = (contract.CARD_FILE, contract.MANY_FILE, *(f"{name}.data" for name in PAIR))
"""Files that belong to a pair where there are any."""
OURS, TRANSFORMERS = "mobilesam", "sam"
"""`model_type` of `config.json`: folders of `mobilesam export --format hub`, and of transformers' `SamModel`."""
OUR_CONFIG = "mobilesam_config"
"""Key of `config.json` for the sizes of the network, as of the metadata of our checkpoints."""


def choose_weights(names: Collection[str], where: object) -> str | None:
    """Choose the file with the weights, or the index of its parts, by the names in a folder; None if there is none.

    Beside a pair, which holds weights itself, or model.json, which belongs to files of another format (`encoder.bin` of
    OpenVINO), only a usual name counts.

    Raises:
        ModelError: several files are checkpoints, and none has a usual name.
    """
    for name in USUAL:
        if name in names:
            return name
    if has_pair_names(names) or contract.CARD_FILE in names:
        return None
    others = sorted(name for name in names if Path(name).suffix.lower() in CHECKPOINTS and "/" not in name)
    if len(others) > 1:
        raise ModelError(f"{where} holds several checkpoints, {', '.join(others)}; give the path of one of them")
    return others[0] if others else None


def has_pair_names(names: Collection[str]) -> bool:
    """Whether the names in a folder are those of an exported pair."""
    return all(name in names for name in PAIR)


def names_in(folder: Path) -> list[str]:
    """Names of the files of a folder, not of its subfolders."""
    return [path.name for path in folder.iterdir() if path.is_file()]


def weights_only(folder: Path) -> bool:
    """Whether a folder holds weights and no pair, so that only torch can run it."""
    if not folder.is_dir():
        return False
    names = names_in(folder)
    return not has_pair_names(names) and choose_weights(names, folder) is not None


def parts_of(index: Path) -> list[str]:
    """Names of the files that the index of split weights lists.

    Raises:
        ModelError: it is damaged, or names a file outside of its folder.
    """
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelError(f"{index} is damaged: 'weight_map' must name the file of each weight; copy it again")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        if not name or name != os.path.basename(name) or "\\" in name or name.startswith("."):
            raise ModelError(f"{index} names '{name}', which is no file of its folder; download the model again")
    return names


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json` of a folder; empty where there is none.

    Raises:
        ModelError: it is damaged, or of a model that is neither SAM nor ours.
    """
    path = folder / CONFIG
    if not path.exists():
        return {}
    config = read_json(path)
    check_kind(config, path)
    return config


def check_kind(config: dict[str, Any], path: object) -> None:
    """Refuse a `config.json` of another kind of model.

    Raises:
        ModelError: says which kinds there are.
    """
    kind = config.get("model_type", TRANSFORMERS)
    if kind not in (OURS, TRANSFORMERS):
        raise ModelError(
            f"{path}: its model_type is '{str(kind)[:40]}'; readable are '{TRANSFORMERS}' (transformers' SamModel: "
            f"ViT-B, L and H) and '{OURS}' (mobilesam export --format hub). SAM 2, SAM-HQ and others are other networks"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: it is missing, no JSON, or no object.
    """
    try:
        data = parse_json(path.read_bytes())
    except (OSError, DataError) as error:
        raise ModelError(f"{path} cannot be read{described(path)} ({error}); copy or download it again") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} must hold a JSON object, not {type(data).__name__}; copy or download it again")
    return data
