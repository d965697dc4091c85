"""Which backend runs the files of an exported folder, and whether its runtime is here."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Literal, get_args

from mobilesam import contract
from mobilesam.choices import BackendName
from mobilesam.errors import ModelError
from mobilesam.extras import require
from mobilesam.integrity import read_card
from mobilesam.predict.backend import Backend

FixedName = Literal["litert", "executorch", "coreml"]
FIXED: tuple[FixedName, ...] = get_args(FixedName)
"""Backends for files of fixed shapes."""
OWN_BACKENDS: dict[str, BackendName] = {
    "ort": "onnx",
    "openvino": "openvino",
    "litert": "litert",
    "executorch": "executorch",
    "coreml": "coreml",
}
"""Format → the only backend that runs its files. All other formats hold a pair of ONNX files, which several run."""
_MODULES = {
    "openvino": ("openvino", "openvino"),
    "litert": ("ai_edge_litert", "litert"),
    "executorch": ("executorch", "executorch"),
    "coreml": ("coremltools", "executorch"),
}
"""Backend → the module that it imports, and the extra that brings it."""


def format_of(folder: Path) -> str:
    """The format that a folder was exported in, as its model.json says; "onnx" where nothing does."""
    form = read_card(folder).get(contract.FORMAT) if folder.is_dir() else None
    return form if isinstance(form, str) else "onnx"


def own_backend(folder: Path) -> BackendName | None:
    """The only backend that runs the files of a folder; None for a pair of ONNX files and for what is no export."""
    return OWN_BACKENDS.get(format_of(folder))


def check_runtime(backend: BackendName) -> None:
    """Check that the runtime of a backend exists for this system and is installed.

    Raises:
        ModelError: it does not exist for this system.
        MissingExtraError: it is not installed; names the extra.
    """
    if backend == "coreml" and platform.system() != "Darwin":
        raise ModelError(
            "CoreML runs on macOS only; to run the model here, export it for another runtime: "
            "mobilesam export MODEL -o FOLDER"
        )
    if backend in _MODULES:
        module, extra = _MODULES[backend]
        require(module, extra, f"the {backend} backend")


def check_format(folder: Path, backend: BackendName) -> None:
    """Check that a folder does not hold files that only another backend runs.

    Raises:
        ModelError: it does; says which backend that is.
    """
    own = own_backend(folder)
    if own not in (None, backend):
        raise ModelError(
            f"{folder} holds a model in the format {format_of(folder)}, which the backend {own} runs, not {backend}; "
            f"leave the backend out, or for {backend}: mobilesam export MODEL -o FOLDER"
        )


def open_fixed(folder: Path, name: FixedName, device: str, threads: int | None, image_size: int | None) -> Backend:
    """Open a folder with files of fixed shapes.

    Raises:
        ModelError: the runtime does not exist for this system or device, or a file is missing or damaged.
        MissingExtraError: the runtime is not installed.
        SettingsError: the files have another image size, or the runtime cannot take that number of threads.
    """
    check_runtime(name)
    if device != "cpu":
        raise ModelError(f"the {name} backend runs on the CPU here, not on '{device}'")
    if name == "litert":
        from mobilesam.predict.litert import LiteRtBackend

        return LiteRtBackend(folder, threads=threads, image_size=image_size)
    if name == "coreml":
        from mobilesam.predict.coreml import CoreMlBackend

        return CoreMlBackend(folder, threads=threads, image_size=image_size)
    from mobilesam.predict.executorch import ExecuTorchBackend

    return ExecuTorchBackend(folder, threads=threads, image_size=image_size)
