"""Stores of embeddings, finished and unfinished."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fuzz import seeds
from tests.fuzz.targets.common import SilentError, sums, sums_of, write


def store(data: bytes, folder: Path) -> None:
    """A finished store: what its checksums allow must be what was stored."""
    from mobilesam.data.store import Store

    found = Store(write(folder / "s.npz", data))
    values = {name: found.read(name) for name in sorted(found.photos)}
    if sums(folder / "s.npz") not in (sums_of(original) for original in seeds.stores()):
        return  # written anew with right checksums
    for name, value in values.items():
        if name in seeds.STORED and not np.allclose(value, seeds.embedding_of(name), atol=0.01):
            raise SilentError(f"record '{name}' is not what was stored")


def partial(data: bytes, folder: Path) -> None:
    """An unfinished store is continued, and what it then holds must be what was stored."""
    from mobilesam.data.store import Store, read_header
    from mobilesam.data.store_format import StoreHeader
    from mobilesam.data.store_writer import StoreWriter

    path = folder / "p.npz"
    write(folder / "p.npz.partial", data)
    read_header(folder / "p.npz.partial")
    is_int8 = b'"int8"' in data[:2000]
    with StoreWriter(path, StoreHeader("t", 64, 8, "s 00000000", dtype="int8" if is_int8 else "float16")) as writer:
        for name in seeds.STORED:
            if (name, 0) not in writer:
                writer.add(name, 0, seeds.embedding_of(name))
        writer.finish({})
    for name in seeds.STORED:
        if not np.allclose(Store(path).read(name), seeds.embedding_of(name), atol=0.01):
            raise SilentError(f"record '{name}' is not what was stored")
