"""Functions of state dicts: which entries are in use, their checksum, whether they are finite, prefixes of names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from mobilesam.errors import ModelError
from mobilesam.model.transformers_names import VISION, is_transformers, to_sam

_ADDED = ("module", "_orig_mod")
"""Parts of names that data-parallel training and torch.compile add, before all of a network or one part."""
_ENCODER = "image_encoder."


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
    """Give weights the names that they have in SAM: without what other programs add, and in place of transformers'.

    What is added is that of data-parallel training and torch.compile, and the attribute in which a class of somebody's
    own holds the network (`sam.image_encoder...`). Where two names would become one, all stay as they are.

    Raises:
        ModelError: weights of transformers' `SamModel` contradict each other.
    """
    names = [".".join(part for part in key.split(".") if part not in _ADDED) for key in state]
    own = next((name.partition(sign)[0] for sign in (_ENCODER, VISION) for name in names if sign in name), "")
    if own and all(name.startswith(own) for name in names):
        names = [name.removeprefix(own) for name in names]
    found = dict(zip(names, state.values(), strict=True)) if len(set(names)) == len(names) else state
    return to_sam(found) if is_transformers(found) else found


def is_network(value: object) -> bool:
    """Whether a value is a state dict of SAM's network: tensors by names, among them an image encoder's."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    has_encoder = any(_ENCODER in key or VISION in key for key in value)
    return has_encoder and all(isinstance(one, Tensor) for one in value.values())
