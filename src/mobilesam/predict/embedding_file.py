"""File format of a saved embedding: a zip (.npz) of two arrays, a JSON header as bytes and the embedding.

Everything is checked before it is used or memory is allocated, because the file may come from an untrusted source.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.arrays import parse_npy
from mobilesam.contract import PATCH_SIZE
from mobilesam.errors import ModelError
from mobilesam.files import replacing
from mobilesam.image import input_size
from mobilesam.integrity import described
from mobilesam.outputs import DEFAULT, Outputs
from mobilesam.predict.backend import Floats, ModelInfo
from mobilesam.rle import MAX_PIXELS

FORMAT = "mobilesam-embedding-1"

_MAX_HEADER = 2**16  # bytes


@dataclass(frozen=True)
class Header:
    """Header of the file: format, identity of the model, and sizes of the photo."""

    format: str
    model: str
    weights_sha256: str
    original_hw: tuple[int, int]
    input_hw: tuple[int, int]

    @classmethod
    def of(cls, info: ModelInfo, original_hw: tuple[int, int], input_hw: tuple[int, int]) -> Header:
        """Header for a new embedding by a model."""
        return cls(FORMAT, info.name, info.weights_sha256, original_hw, input_hw)


def write_embedding(path: str | os.PathLike[str], header: Header, array: Floats, outputs: Outputs = DEFAULT) -> None:
    """Write an embedding to a file; through a temporary file, so that an interrupted write leaves no partial one."""
    text = np.frombuffer(json.dumps(asdict(header)).encode(), np.uint8)
    with replacing(path, outputs) as partial, partial.open("wb") as file:
        np.savez(file, header=text, embedding=np.ascontiguousarray(array))


def read_embedding(path: str | os.PathLike[str], info: ModelInfo) -> tuple[Header, Floats]:
    """Read an embedding and check that it belongs to a model.

    Returns:
        The header and the embedding (1, C, g, g).

    Raises:
        ModelError: the file is not an embedding, is damaged, or belongs to another model.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = _check_header(json.loads(_read_array(archive, "header.npy", np.uint8, _MAX_HEADER).tobytes()))
            _check_model(path, header, info)
            size = 4 * info.embed_dim * max(info.grid, info.sides.stop // PATCH_SIZE) ** 2
            array = _read_array(archive, "embedding.npy", np.float32, size)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist") from None
    except ModelError:
        raise
    except Exception as error:  # zip, its compressions, numpy and JSON each raise their own
        why = described(path) or f" ({error})"
        raise ModelError(f"{path} is not an embedding saved by mobilesam, or is damaged{why}") from error
    _check_array(path, header, array, info)
    return header, array


def _read_array(archive: zipfile.ZipFile, name: str, dtype: type[np.generic], most: int) -> Any:
    """Read one array of the zip, of the given type and with at most `most` bytes of data."""
    size = archive.getinfo(name).file_size
    if size > most + _MAX_HEADER:
        raise ValueError(f"{name} has {size} bytes, at most {most} were expected")
    with archive.open(name) as file:
        return parse_npy(file.read(most + _MAX_HEADER), dtype)


def _check_header(data: Any) -> Header:
    """Validate the entries of the header."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else data
        raise ValueError(f"its format is {str(found)[:40]!r}, this version reads '{FORMAT}'")
    texts = [data.get(key) for key in ("model", "weights_sha256")]
    pairs = [data.get(key) for key in ("original_hw", "input_hw")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("'model' and 'weights_sha256' must be texts")
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and n > 0 for n in pair)):
            raise ValueError("'original_hw' and 'input_hw' must be two whole numbers above 0 each")
    original_hw, input_hw = ((pair[0], pair[1]) for pair in pairs)  # type: ignore[index]
    if math.prod(original_hw) > MAX_PIXELS:  # masks are scaled up to it: a forged size could exhaust memory
        raise ValueError(f"a photo of {original_hw[1]}x{original_hw[0]} has over {MAX_PIXELS} pixels")
    return Header(FORMAT, str(texts[0]), str(texts[1]), original_hw, input_hw)


def _check_model(path: Path, header: Header, info: ModelInfo) -> None:
    if header.weights_sha256 != info.weights_sha256:
        raise ModelError(
            f"{path} was made by '{header.model}' ({header.weights_sha256[:12]}), this model is "
            f"'{info.name}' ({info.weights_sha256[:12]}); embed the photo again"
        )


def _check_array(path: Path, header: Header, array: Floats, info: ModelInfo) -> None:
    """Check shape, image size and values of the embedding, and the sizes of its photo."""
    side = array.shape[-1] * PATCH_SIZE if array.ndim == 4 else 0
    if side != info.image_size and side in info.sides:
        raise ModelError(
            f"{path} was made at image_size {side}, this model was loaded at {info.image_size}; "
            f"load(..., image_size={side}), or embed the photo again"
        )
    expected = (1, info.embed_dim, info.grid, info.grid)
    if array.shape != expected:
        raise ModelError(f"{path} is damaged: its embedding is {array.shape}, not {expected}; embed the photo again")
    if header.input_hw != input_size(header.original_hw, info.image_size):
        raise ModelError(
            f"{path} is damaged: a photo of {header.original_hw} is not resized to {header.input_hw}; "
            "embed the photo again"
        )
    if not np.isfinite(array).all():
        raise ModelError(f"{path} is damaged: its embedding has values that are not finite; embed the photo again")
