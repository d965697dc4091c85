"""Stores of embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fuzz import seeds
from tests.fuzz.targets.common import SilentError, sums, sums_of, write


def store(data: bytes, folder: Path) -> None:
    """A store: what its checksums allow must be what was stored."""
    from mobilesam.data.store import Store

    found = Store(write(folder / "s.npz", data))
    values = {name: found.read(name) for name in sorted(found.photos)}
    if sums(folder / "s.npz") not in (sums_of(original) for original in seeds.stores()):
        return  # written anew with right checksums
    for name, value in values.items():
        if name in seeds.STORED and not np.allclose(value, seeds.embedding_of(name), atol=0.01):
            raise SilentError(f"record '{name}' is not what was stored")
