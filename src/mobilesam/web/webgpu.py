"""The runtime for graphics cards: too large for the wheel, so it is taken from the pinned npm package on request."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from pathlib import Path

from mobilesam.errors import ModelError
from mobilesam.integrity import file_sha256
from mobilesam.weights import ModelSpec, checkpoint_path, download

PACKAGE = ModelSpec(
    name="onnxruntime-web",
    description="onnxruntime-web 1.30.0, the runtime of the page",
    licence="MIT",
    url="https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
    sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    num_bytes=33_106_585,
)
"""The package of `web/package.json`, where the page's WebAssembly runtime comes from too."""
WASM = "ort-wasm-simd-threaded.asyncify.wasm"
SCRIPTS = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs")


def read_runtime(package: str | os.PathLike[str] | None = None) -> dict[str, bytes]:
    """The runtime's files by name, its WebAssembly compressed.

    Args:
        package: the npm package as a file; None downloads it into the cache of the weights.

    Raises:
        DownloadError: it cannot be downloaded.
        ModelError: the file is not the pinned package.
    """
    path = download(PACKAGE) if package is None else Path(package)
    if not path.is_file() or file_sha256(path) != PACKAGE.sha256:
        raise ModelError(
            f"{path} is not {PACKAGE.description}: download {PACKAGE.url}, whose sha256 is {PACKAGE.sha256}"
        )
    return unpack(path)


def unpack(path: Path) -> dict[str, bytes]:
    """Read the runtime's files from the package.

    Raises:
        ModelError: the package is damaged or has no such file.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as package:
            for name in (*SCRIPTS, WASM):
                member = package.extractfile(f"package/dist/{name}")
                if member is not None:
                    found[name] = member.read()
        found[f"{WASM}.gz"] = gzip.compress(found.pop(WASM), 9, mtime=0)
    except (tarfile.TarError, KeyError, EOFError, zlib.error, OSError) as error:
        raise ModelError(f"{path} is damaged or has no WebGPU runtime ({error}); download it again") from error
    return found


def cached_package() -> Path:
    """Where a downloaded package lies, whether it is there or not."""
    return checkpoint_path(PACKAGE)
