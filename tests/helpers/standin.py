"""Made-up weights that both the reference and this implementation were given: the goldens are the reference's answers.

The arrays depend only on each key's name and shape, so `golden/specs.json.gz` (the official keys and shapes) is all
that has to be stored. What the reference computed with them lies, thinned out, in `golden/vit_*.npz`.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[1] / "golden"


def spec(model: str) -> dict[str, list[int]]:
    """Official state-dict keys → shapes of "t", "b", "l" or "h"."""
    return json.loads(gzip.decompress((GOLDEN / "specs.json.gz").read_bytes()))[model]


def fill(shapes: dict[str, list[int]]) -> dict[str, NDArray[np.generic]]:
    """One array per key."""
    return {key: fill_one(key, shape) for key, shape in shapes.items()}


def fill_one(key: str, shape: list[int]) -> NDArray[np.generic]:
    """Gaussian noise seeded by the key's CRC-32, scaled so that activations stay in a sane range."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    last = key.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if last == "running_var":
        return (1 + 0.5 * np.tanh(noise)).astype(np.float32)
    if last == "positional_encoding_gaussian_matrix":
        return noise
    if last == "weight" and len(shape) == 1:
        return (1 + 0.1 * noise).astype(np.float32)
    if last == "weight" and len(shape) >= 2:
        return (gain(key, shape) * noise).astype(np.float32)
    return (0.1 * noise).astype(np.float32)


def gain(key: str, shape: list[int]) -> float:
    """Scale of a weight matrix: sharper attention and larger logits than plain 1/sqrt(fan-in) where masks need them."""
    scale = 1 / math.sqrt(math.prod(shape[1:]))
    if ".transformer." in key and (".q_proj." in key or ".k_proj." in key):
        scale *= 3
    if "output_hypernetworks_mlps" in key and key.endswith("layers.2.weight"):
        scale *= 8
    return scale
