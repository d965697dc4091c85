"""Synthetic photos with known objects."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam import masks


def draw_scene(rng: np.random.Generator, size: int = 96) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """A noisy photo with a bright disc and a dark square."""
    rgb = rng.integers(90, 130, (size, size, 3)).astype(np.uint8)
    y, x = np.mgrid[:size, :size]
    disc = (x - rng.integers(20, 40)) ** 2 + (y - rng.integers(30, 60)) ** 2 < 15**2
    left, top = rng.integers(50, 65), rng.integers(10, 60)
    square = (x >= left) & (x < left + 25) & (y >= top) & (y < top + 25)
    rgb[disc] = (230, 200, 60)
    rgb[square] = (20, 30, 120)
    return rgb, [disc, square]


def write_shard(path: Path, count: int, seed: int = 0, *, scale: int = 1) -> Path:
    """Synthetic photos in the SA-1B schema, of two sources; `scale` times larger, objects too."""
    rng = np.random.default_rng(seed)
    with tarfile.open(path, "w") as tar:
        for i in range(count):
            rgb, objects = draw_scene(rng)
            rgb = rgb.repeat(scale, 0).repeat(scale, 1)
            objects = [mask.repeat(scale, 0).repeat(scale, 1) for mask in objects]
            jpg = io.BytesIO()
            Image.fromarray(rgb).save(jpg, "JPEG", quality=95)
            annotations = [{"segmentation": masks.to_rle(m), "area": int(m.sum())} for m in objects]
            record = {"image": {"file_name": f"{i}.jpg"}, "annotations": annotations, "source": "ab"[i % 2]}
            add_member(tar, f"photo_{i:02}.jpg", jpg.getvalue())
            add_member(tar, f"photo_{i:02}.json", json.dumps(record).encode())
    return path


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def wide_shard(path: Path, count: int = 3) -> Path:
    """Photos twice as wide as high, the second of them truncated."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (40, 80, 3)).astype(np.uint8)).save(file, "JPEG")
            data = file.getvalue()
            add_member(tar, f"wide_{i}.jpg", data[: len(data) // 2] if i == 1 else data)
            add_member(tar, f"wide_{i}.json", b'{"annotations": []}')
    return path


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
