"""Functions of state dicts: which entries are in use, their checksum, whether they are finite, prefixes of names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from mobilesam.errors import ModelError

_PREFIXES = ("module.", "_orig_mod.")


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


def digest(state: Mapping[str, Tensor]) -> str:
    """Checksum of the weights in use: sha256 over names and float32 values, independent of the file format."""
    found = hashlib.sha256()
    for key, value in sorted(state.items()):
        if not is_unused(key):
            found.update(key.encode())
            found.update(value.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()


def is_unused(key: str) -> bool:
    """Whether a state-dict entry has no influence on any output."""
    return key.endswith("num_batches_tracked") or key.startswith(("image_encoder.head.", "image_encoder.norm_head."))


def unprefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that data-parallel training and torch.compile put before each name."""
    for _ in range(len(_PREFIXES)):
        for prefix in _PREFIXES:
            if state and all(key.startswith(prefix) for key in state):
                state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
