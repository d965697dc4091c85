"""Reads files of torch.save: checks the archive, runs nothing in it, and finds the weights inside."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mobilesam.errors import ModelError, first_line
from mobilesam.integrity import described
from mobilesam.model.state_dict import is_network, unprefixed

_BLOCK = 2**20  # bytes read at a time
_WRAPPERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training scripts keep the weights, the first of these that there is."""
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_DEEPEST = 3  # dictionaries around the weights


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read the weights of a file that torch.save wrote.

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
            f"{path}: expected a checkpoint that torch.load(..., weights_only=True) reads; {unread(error)}"
        ) from error
    return unprefixed(_check_tensors(_unwrapped(state, path), path))


def unread(error: Exception) -> str:
    """Say why torch could not load a file, without its advice to load what may run code."""
    found = _GLOBAL.search(str(error))
    if isinstance(error, pickle.UnpicklingError) and found:
        return (
            f"it holds a Python object ({found.group(1)}), which is not loaded because it could run code; save the "
            "weights alone: torch.save(model.state_dict(), FILE)"
        )
    return f"the file is truncated or something else ({first_line(error).partition('. ')[0]})"


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


def _unwrapped(state: Any, path: Path) -> Any:
    """Find the state dict inside the dictionaries that training scripts wrap around it.

    Raises:
        ModelError: several dictionaries hold a network, and none is under one of the usual keys.
    """
    parts = list(_dictionaries(state))
    networks = [(keys, part) for keys, part in parts if is_network(part)]
    usual = [(keys, part) for name in _WRAPPERS for keys, part in networks or parts if keys[-1:] == (name,)]
    if len(networks) > 1 and not usual:
        names = ", ".join(f"'{'.'.join(keys)}'" for keys, _ in networks)
        raise ModelError(
            f"{path}: holds the weights of {len(networks)} networks, under {names}; "
            "save the one that you need by itself"
        )
    chosen = usual or networks
    return chosen[0][1] if chosen else state


def _dictionaries(state: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    """The dictionary itself and those inside it, with the keys that lead to them; none inside a state dict."""
    if isinstance(state, dict):
        yield keys, state
        if len(keys) < _DEEPEST and not is_network(state):
            for key, value in state.items():
                yield from _dictionaries(value, (*keys, str(key)))


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
