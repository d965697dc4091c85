"""Loading of models: by name, from a checkpoint or from a folder.

This is the only inference module that uses the torch modules of the package. They are imported inside functions,
and only if the torch backend is used or a checkpoint must be converted.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import get_args

import numpy as np

from mobilesam import hub
from mobilesam.choices import BackendName, Precision
from mobilesam.errors import MissingExtraError, ModelError, SettingsError
from mobilesam.extras import install_command, is_installed, require
from mobilesam.integrity import SOURCE, check_files, read_card
from mobilesam.model_folder import weights_only
from mobilesam.outputs import ALL
from mobilesam.predict.backend import Backend
from mobilesam.predict.pair import PairBackend
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.runtimes import FIXED, check_format, check_runtime, open_fixed, own_backend
from mobilesam.text import unknown
from mobilesam.weights import (
    CHECKPOINTS,
    EMBEDDED,
    MODELS,
    ModelSpec,
    cache_folder,
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
    """Load a model as a `Predictor`.

    Args:
        model: a name that `mobilesam models` lists; a checkpoint (.pt, .pth, .ckpt, .bin, .safetensors); a folder with
            a pair, or with weights as on the Hugging Face Hub; or a repository there, `hf://OWNER/NAME[@REVISION]`.
        backend: "onnx" (onnxruntime), "openvino", "torch", "litert", "executorch" or "coreml" (the last three for
            folders exported for them, coreml on macOS only), or "auto": the one that a folder was exported for; torch
            for checkpoints and for GPUs; else openvino where it is installed on an x86 processor, and onnx everywhere
            else and for a quick start.
        device: "cpu", or what the backend calls a GPU ("cuda").
        threads: number of threads per operator; None lets the runtime choose. torch (on CPUs, by
            `torch.set_num_threads`) and executorch have one number for the whole process; coreml always chooses.
        quick_start: optimise for one or a few photos: use onnxruntime, which loads fastest, with the least memory.
        precision: number format in which OpenVINO computes, and torch the encoder; "bfloat16" is less exact, and faster
            on processors and GPUs that have it. onnxruntime computes in float32.
        image_size: side in pixels of the square input; None for the model's default. Smaller is faster, larger gives
            finer masks. A model whose encoder has attention supports only its default.

    Raises:
        ModelError: the model does not exist, or its files are damaged.
        DownloadError: the model must be downloaded, which failed.
        MissingExtraError: torch, or the Hub's library, is needed but not installed.
        SettingsError: the backend is unknown, `threads` is no whole number of at least 1, or the model does not support
            the image size, or executorch not the number of threads.

    Examples:
        >>> sam = mobilesam.load(image_size=384)
        >>> sam.info.name, sam.info.image_size
        ('embedded', 384)
    """
    if backend not in get_args(BackendName):
        raise SettingsError(unknown("backend", str(backend), get_args(BackendName)))
    threads = check_threads(threads)
    if not isinstance(model, str | os.PathLike):
        raise ModelError(f"a model is a name or a path, not {type(model).__name__}")
    model = hub.located(model, cache_folder, wants_weights=backend == "torch" or device != "cpu")
    source = in_run(model)
    is_checkpoint = source.suffix.lower() in CHECKPOINTS or weights_only(source)
    if backend == "auto" and (own := own_backend(source)) is not None:
        backend = own
    if backend == "auto":
        backend = "torch" if is_checkpoint or device != "cpu" else _best_runtime(quick_start, precision)
    if precision != "float32" and backend not in ("openvino", "torch"):
        raise SettingsError(
            f"the backend {backend} computes in float32; precision '{precision}' needs torch or openvino: "
            + install_command("openvino")
        )
    if backend == "torch":
        return Predictor(_torch_backend(model, device, threads, precision, image_size))
    if is_checkpoint:
        raise ModelError(f"{backend} cannot read '{source}'; export it first: mobilesam export {source} -o FOLDER")
    if backend in FIXED:
        return Predictor(open_fixed(source, backend, device, threads, image_size))
    check_format(source, backend)
    if backend == "openvino":
        return Predictor(_openvino_backend(_find_pair(model), device, threads, precision, image_size))
    return Predictor(_onnx_backend(_find_pair(model), device, threads, quick_start, image_size))


def check_threads(threads: int | None) -> int | None:
    """Refuse a number of threads that no runtime can take; returns it as an `int`, or None.

    Raises:
        SettingsError: it is below 1, or no whole number.
    """
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise SettingsError(f"threads must be a whole number of at least 1, or None, not {threads!r:.40}")
    return int(threads)


def _best_runtime(quick_start: bool, precision: Precision) -> BackendName:
    """The fastest installed CPU runtime: OpenVINO on x86 unless loading must be quick (docs/decisions/0005)."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    is_worth_it = not quick_start or precision != "float32"
    return "openvino" if is_x86 and is_worth_it and is_installed("openvino") else "onnx"


def _onnx_backend(folder: Path, device: str, threads: int | None, quick_start: bool, image_size: int | None) -> Backend:
    from mobilesam.predict.onnx import OnnxBackend

    return OnnxBackend(folder, device=device, threads=threads, quick_start=quick_start, image_size=image_size)


def _openvino_backend(
    folder: Path, device: str, threads: int | None, precision: Precision, image_size: int | None
) -> Backend:
    check_runtime("openvino")
    if device != "cpu":
        raise ModelError(f"the openvino backend runs on the CPU, not on '{device}'")
    from mobilesam.predict.openvino import OpenVinoBackend

    return OpenVinoBackend(folder, threads=threads, precision=precision, image_size=image_size)


def _torch_backend(
    model: str | os.PathLike[str], device: str, threads: int | None, precision: Precision, image_size: int | None
) -> Backend:
    require("torch", "torch", f"the torch backend of '{model}'")
    from mobilesam.model import checkpoint
    from mobilesam.model.backend import TorchBackend

    path = find_checkpoint(model)
    network = checkpoint.load(path)
    licence = licence_of(model, path)
    return TorchBackend(
        network, device=device, licence=licence, image_size=image_size, precision=precision, threads=threads
    )


def licence_of(model: str | os.PathLike[str], path: Path) -> str:
    """Licence of a model's weights: by its name, or as the model.json of its folder gives it; "unknown" otherwise."""
    if str(model) in MODELS:
        return MODELS[str(model)].licence
    return str(read_card(path).get("licence", "unknown")) if path.is_dir() else "unknown"


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
    """Download a published checkpoint and convert it to ONNX in the cache.

    Raises:
        MissingExtraError: torch is not installed; checked before anything is downloaded.
    """
    require("torch", "torch", f"converting '{spec.name}' to ONNX, once,")
    from mobilesam.export.onnx import export_pair
    from mobilesam.model import checkpoint

    export_pair(checkpoint.load(download(spec)), folder, licence=spec.licence, source_sha256=spec.sha256, outputs=ALL)


def check_source(spec: ModelSpec, folder: Path) -> None:
    """Check that a pair in the cache was converted from the published checkpoint of its name.

    Raises:
        ModelError: it was not; says to delete it.
    """
    found = read_card(folder).get(SOURCE)
    if spec.name != EMBEDDED and found != spec.sha256:
        origin = f"the checkpoint with sha256 {found}" if found else "another"
        raise ModelError(
            f"{folder} holds no '{spec.name}': its pair was made from {origin}, not from the published checkpoint; "
            "delete the folder, and it is made again"
        )


def verify(model: str | os.PathLike[str]) -> list[str]:
    """Verify the files of a model by sha256, and open them; and the published checkpoint if it was downloaded.

    Files whose runtime is not installed or not of this system are compared, but not opened; the sentence says so.

    Args:
        model: a name that `mobilesam models` lists, or an exported folder of any format.

    Returns:
        One sentence per verified fact.

    Raises:
        ModelError: a file differs from the published or exported one, cannot be verified, or no file exists.
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
        claims.append(f"{', '.join(files)} in {folder} have the sha256 that model.json gives, {_try_to_open(folder)}")
    if not claims:
        raise ModelError(f"'{model}' is not on this machine; mobilesam models download {model}")
    return claims


def _try_to_open(folder: Path) -> str:
    """Open an exported folder in the runtime of its format; says whether that runtime is here.

    Raises:
        ModelError: the runtime is here, and a file does not load.
    """
    backend = own_backend(folder) or "onnx"
    try:
        check_runtime(backend)
    except (MissingExtraError, ModelError) as error:
        return f"but were not opened: {error}"
    opened = load(folder, backend=backend, quick_start=True).backend
    if isinstance(opened, PairBackend):
        opened.open_all()
    return "and load"
