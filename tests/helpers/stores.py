"""A small store of random embeddings for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilesam.data.checksums import photo_checksum
from mobilesam.data.store_format import StoreHeader
from mobilesam.data.store_writer import StoreWriter

HEADER = StoreHeader(teacher="t", image_size=64, embed_dim=8, shard="s")
PHOTOS = [f"photo_{i}" for i in range(6)]


def embedding(i: int) -> np.ndarray:
    return np.random.default_rng(i).normal(0, 0.3, (8, 3, 4)).astype(np.float32)


def write(path: Path, header: StoreHeader = HEADER, skipped: dict[str, str] | None = None) -> Path:
    with StoreWriter(path, header) as store:
        for i, name in enumerate(PHOTOS):
            store.add(name, 0, embedding(i), checksum=photo_checksum(name.encode()))
        return store.finish(skipped or {})
