"""What decides a model's results besides its weights: how its files store them, and the runtime that computes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilesam import contract
from mobilesam.choices import Precision
from mobilesam.integrity import CHECKPOINTS, EXACT, HASHES, read_card
from mobilesam.predict.backend import Backend

_PACKAGES = {
    "onnx": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
    "openvino": ("openvino",),
    "torch": ("torch",),
    "litert": ("ai-edge-litert",),
    "executorch": ("executorch",),
    "coreml": ("coremltools",),
}
"""Backend → the packages that may bring its runtime."""


@dataclass(frozen=True)
class Runtime:
    """What computes a model in this process."""

    backend: str
    """By the name that `load` takes; never "auto"."""
    precision: str
    """Number format that it computes in."""
    stored: str
    """Format and precision of the files, such as "onnx int8"; "" for a checkpoint."""
    versions: dict[str, str]
    """Package of the runtime → its version."""


def numbers_stored(backend: Backend) -> dict[str, str]:
    """How the files of a model store its weights, where `weights_sha256` does not tell.

    `weights_sha256` is of the network that was exported. Files in int8, for instance, hold other numbers, which depend
    on the photos that they were calibrated with. Whoever keeps results of a model to go on later compares both.

    Returns:
        Format, precision, and a hash of the files; empty where the weights are stored as `weights_sha256` has them.

    Raises:
        ModelError: model.json is damaged.
    """
    card = _card_of(backend)
    form, precision = _stored(card)
    if not card or precision == "float32" or (form in CHECKPOINTS and precision in EXACT):
        return {}
    files = hashlib.sha256(json.dumps(card.get(HASHES, {}), sort_keys=True).encode()).hexdigest()
    return {contract.FORMAT: form, contract.PRECISION: precision, "files": files}


def runtime_of(backend: Backend) -> Runtime:
    """What computes a model, for reports."""
    name = backend_name(backend)
    card = _card_of(backend)
    return Runtime(
        backend=name,
        precision=precision_of(backend),
        stored=" ".join(_stored(card)) if card else "",
        versions={package: found for package in _PACKAGES.get(name, ()) if (found := _version(package))},
    )


def backend_name(backend: Backend) -> str:
    """The name of a backend as `load` takes it."""
    module = type(backend).__module__.rpartition(".")[2]
    return "torch" if module == "backend" else module


def precision_of(backend: Backend) -> Precision:
    """The precision that a backend computes in, which depends on the processor too."""
    found: Precision = getattr(backend, "precision", "float32")  # not every backend has a choice
    return found


def _card_of(backend: Backend) -> dict[str, Any]:
    """model.json of the folder that a backend runs; empty for a checkpoint, and where there is none."""
    folder = getattr(backend, "folder", None)
    return read_card(folder) if isinstance(folder, Path) else {}


def _stored(card: dict[str, Any]) -> tuple[str, str]:
    """Format and precision of exported files; exports of early versions do not say them."""
    return str(card.get(contract.FORMAT, "onnx")), str(card.get(contract.PRECISION, "float32"))


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # only reports need it, and a cold start does not

    try:
        return version(package)
    except PackageNotFoundError:
        return None
