"""A name, a checkpoint or a folder → a Predictor.

The only place of the inference island that knows the torch island exists; it imports it inside functions, and only
when torch is asked for or a checkpoint must be converted.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import get_args

from mobilesam.choices import BackendName, Precision
from mobilesam.errors import ModelError, SettingsError
from mobilesam.extras import install_command, is_installed, require
from mobilesam.integrity import SOURCE, check_files, read_card
from mobilesam.predict.backend import Backend
from mobilesam.predict.predictor import Predictor
from mobilesam.weights import (
    CHECKPOINTS,
    EMBEDDED,
    MODELS,
    ModelSpec,
    checkpoint_path,
    download,
    find_checkpoint,
    get_spec,
    has_pair,
    in_run,
    is_verified,
    pair_folder,
)


def load(
    model: str | os.PathLike[str] = EMBEDDED,
    *,
    backend: BackendName = "auto",
    device: str = "cpu",
    threads: int | None = None,
    quick_start: bool = False,
    precision: Precision = "float32",
    image_size: int | None = None,
) -> Predictor:
    """Load a model.

    Args:
        model: a name of `mobilesam models`, a checkpoint (.pt, .pth, .safetensors), or a folder with an ONNX pair.
        backend: "onnx" (onnxruntime), "openvino", "torch", or "auto": torch for checkpoints and for GPUs; else openvino
            where it is installed on an x86 processor, and onnx everywhere else and for a quick start.
        device: "cpu", or what the backend calls a GPU ("cuda").
        threads: per operator of onnxruntime; None lets it choose.
        quick_start: for one or a few photos: takes onnxruntime, which opens soonest, and the least memory.
        precision: what OpenVINO computes in; "bfloat16" is faster and a little off. The others compute in float32.
        image_size: side in pixels of the square that the network sees; the model's own when None. Smaller is faster,
            larger shows finer masks. A model whose encoder has attention takes its own only.

    Raises:
        ModelError: there is no such model, or its files are damaged.
        DownloadError: it must be downloaded and cannot be.
        MissingExtraError: torch is needed and not installed.
        SettingsError: no such backend, or a side that the model cannot take.
    """
    if backend not in get_args(BackendName):
        raise SettingsError(f"unknown backend '{backend}'; known: {', '.join(get_args(BackendName))}")
    source = in_run(model)
    is_checkpoint = source.suffix in CHECKPOINTS
    if backend == "auto":
        backend = "torch" if is_checkpoint or device != "cpu" else _best_runtime(quick_start, precision)
    if precision != "float32" and backend != "openvino":
        raise SettingsError(
            f"the backend {backend} computes in float32; precision '{precision}' needs openvino: "
            + install_command("openvino")
        )
    if backend == "torch":
        return Predictor(_torch_backend(model, device, image_size))
    if is_checkpoint:
        raise ModelError(f"{backend} cannot read '{source}'; export it first: mobilesam export {source} -o FOLDER")
    if backend == "openvino":
        return Predictor(_openvino_backend(_find_pair(model), device, threads, precision, image_size))
    return Predictor(_onnx_backend(_find_pair(model), device, threads, quick_start, image_size))


def _best_runtime(quick_start: bool, precision: Precision) -> BackendName:
    """OpenVINO's encoder is the faster one on x86, but it takes longer to open (docs/decisions/0005)."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    is_worth_it = not quick_start or precision != "float32"
    return "openvino" if is_x86 and is_worth_it and is_installed("openvino") else "onnx"


def _onnx_backend(folder: Path, device: str, threads: int | None, quick_start: bool, image_size: int | None) -> Backend:
    from mobilesam.predict.onnx import OnnxBackend

    return OnnxBackend(folder, device=device, threads=threads, quick_start=quick_start, image_size=image_size)


def _openvino_backend(
    folder: Path, device: str, threads: int | None, precision: Precision, image_size: int | None
) -> Backend:
    require("openvino", "openvino", "the openvino backend")
    if device != "cpu":
        raise ModelError(f"the openvino backend runs on the CPU, not on '{device}'")
    from mobilesam.predict.openvino import OpenVinoBackend

    return OpenVinoBackend(folder, threads=threads, precision=precision, image_size=image_size)


def _torch_backend(model: str | os.PathLike[str], device: str, image_size: int | None) -> Backend:
    require("torch", "torch", f"the torch backend of '{model}'")
    from mobilesam.model import checkpoint
    from mobilesam.model.backend import TorchBackend

    licence = MODELS[str(model)].licence if str(model) in MODELS else "unknown"
    network = checkpoint.load(find_checkpoint(model))
    return TorchBackend(network, device=device, licence=licence, image_size=image_size)


def _find_pair(model: str | os.PathLike[str]) -> Path:
    path = Path(model)
    if path.is_dir():
        return path
    spec = get_spec(str(model))
    folder = pair_folder(spec)
    if spec.name != EMBEDDED and not has_pair(folder):
        convert(spec, folder)
    check_source(spec, folder)
    return folder


def convert(spec: ModelSpec, folder: Path) -> None:
    """Download a published checkpoint and export it once into the cache.

    Raises:
        MissingExtraError: torch is not installed; asked before anything is downloaded.
    """
    require("torch", "torch", f"converting '{spec.name}' to ONNX, once,")
    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint

    export_pair(checkpoint.load(download(spec)), folder, licence=spec.licence, source_sha256=spec.sha256)


def check_source(spec: ModelSpec, folder: Path) -> None:
    """Refuse a pair in the cache that was not converted from the checkpoint whose name it goes by.

    Raises:
        ModelError: says to delete it.
    """
    found = read_card(folder).get(SOURCE)
    if spec.name != EMBEDDED and found != spec.sha256:
        origin = f"the checkpoint with sha256 {found}" if found else "another"
        raise ModelError(
            f"{folder} holds no '{spec.name}': its pair was made from {origin}, not from the published checkpoint; "
            "delete the folder, and it is made again"
        )


def verify(model: str | os.PathLike[str]) -> list[str]:
    """Check the files that run under a name: the pair, and the published checkpoint where it was downloaded.

    Args:
        model: a name of `mobilesam models`, or a folder with a pair.

    Returns:
        What was found to be right, a sentence for each.

    Raises:
        ModelError: a file is not the published or exported one, cannot be verified, or there is none.
    """
    is_folder = Path(model).is_dir()
    spec = None if is_folder else get_spec(str(model))
    folder = Path(model) if spec is None else pair_folder(spec)
    claims = []
    if spec is not None and checkpoint_path(spec).is_file() and spec.name != EMBEDDED:
        if not is_verified(spec):
            raise ModelError(
                f"{checkpoint_path(spec)} has another sha256 than {spec.sha256}; delete it and download again"
            )
        claims.append(f"{checkpoint_path(spec)} has sha256 {spec.sha256}")
    if is_folder or has_pair(folder):
        files = check_files(folder)
        if not files:
            raise ModelError(f"{folder} cannot be verified: its model.json gives no sha256; export the model again")
        if spec is not None:
            check_source(spec, folder)
        _onnx_backend(folder, "cpu", None, True, None)
        claims.append(f"{', '.join(files)} in {folder} have the sha256 that model.json gives, and load")
    if not claims:
        raise ModelError(f"'{model}' is not on this machine; mobilesam models download {model}")
    return claims
