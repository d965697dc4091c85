"""Reads the weights of an exported pair back from its graphs."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mobilesam import contract
from mobilesam.errors import ModelError
from mobilesam.integrity import CHECKPOINTS, EXACT, check_files, described, read_card
from mobilesam.model.bounds import config_from_json
from mobilesam.model.config import SamConfig
from mobilesam.model.sam import Sam
from mobilesam.model.state_dict import is_unused


def check_is_checkpoint(folder: Path) -> None:
    """Refuse a folder whose files do not hold the network's weights as they are.

    Raises:
        ModelError: it was exported to another format, or in int8.
    """
    card = read_card(folder)
    form, precision = card.get(contract.FORMAT, "onnx"), card.get(contract.PRECISION, "float32")
    if form not in CHECKPOINTS or precision not in EXACT:
        raise ModelError(
            f"{folder} is no checkpoint: format {form} in {precision} does not hold the network's weights as they "
            "are; take the checkpoint that it was exported from"
        )


def read_pair(folder: Path) -> tuple[dict[str, Tensor], SamConfig | None]:
    """Read the weights of an exported pair, whose initializers are named by the state-dict keys."""
    import onnx  # here, so that reading a checkpoint does not need it
    from onnx import numpy_helper

    check_is_checkpoint(folder)

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
    config = config_from_json(metadata["config"], folder)
    # The pair lacks entries that no graph uses: step counters, and the published checkpoint's ImageNet head.
    for key, value in Sam(config).state_dict().items():
        if is_unused(key):
            state[key] = torch.zeros_like(value)
    return {key: value for key, value in state.items() if "." in key}, config
