"""Reads `.pt` and `.pth` files: checks the archive, runs nothing in it, and finds the weights inside."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilesam.errors import ModelError, first_line
from mobilesam.integrity import described
from mobilesam.model.state_dict import unprefixed

_BLOCK = 2**20  # bytes read at a time
_WRAPPERS = ("model", "state_dict", "model_state_dict")


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read the weights of a `.pt` or `.pth` file.

    Raises:
        ModelError: says what was found in their place.
    """
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
