"""Random access to photos in tar shards of the SA-1B schema, without unpacking them.

A shard holds pairs NAME.jpg + NAME.json. One pass over the tar headers notes where each member's bytes lie; after
that any photo is one seek away. `docs/decisions/0002-random-access-shards.md` says why this and not a stream.
"""

from __future__ import annotations

import glob
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.errors import DataError
from mobilesam.masks import from_rle


@dataclass(frozen=True)
class Sample:
    """Where one photo and its annotation lie: (offset, size) in bytes inside a shard."""

    shard: str
    name: str
    jpg: tuple[int, int]
    json: tuple[int, int]


@dataclass(frozen=True)
class Photo:
    """One decoded photo; masks stay encoded until they are asked for."""

    name: str
    source: str
    rgb: NDArray[np.uint8]
    """(H, W, 3)"""
    annotations: list[dict[str, Any]]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Annotation `index` as (H, W)."""
        return from_rle(self.annotations[index]["segmentation"])


def expand(patterns: Sequence[str]) -> list[str]:
    """Shell patterns → sorted shard paths.

    Raises:
        DataError: a pattern matches nothing.
    """
    paths: list[str] = []
    for pattern in patterns:
        found = sorted(glob.glob(os.path.expanduser(pattern)))
        if not found:
            raise DataError(f"no shard matches '{pattern}' (looked from {Path.cwd()})")
        paths.extend(found)
    return paths


def index_shard(path: str) -> list[Sample]:
    """Every jpg that has a json beside it, in the order of the tar."""
    members: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                stem, _, suffix = member.name.rpartition(".")
                if member.isfile() and suffix in ("jpg", "json"):
                    members[stem][suffix] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path}: not a readable, uncompressed tar ({error})") from error
    return [Sample(path, stem, m["jpg"], m["json"]) for stem, m in members.items() if len(m) == 2]


def read_bytes(shard: str, where: tuple[int, int]) -> bytes:
    """The bytes of one member."""
    with open(shard, "rb") as file:
        file.seek(where[0])
        return file.read(where[1])


def read_photo(sample: Sample) -> Photo:
    """Decode one photo.

    Raises:
        DataError: names the shard and the photo whose bytes are damaged.
    """
    try:
        record = json.loads(read_bytes(sample.shard, sample.json))
        bgr = cv2.imdecode(np.frombuffer(read_bytes(sample.shard, sample.jpg), np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError("the jpg does not decode")
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        return Photo(sample.name, record.get("source", "sa1b"), rgb, record["annotations"])
    except (ValueError, KeyError, OSError) as error:
        raise DataError(f"{sample.shard}: photo '{sample.name}' is damaged ({error})") from error


def group_by_source(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Samples under the `source` their json names ("sa1b" where it names none)."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        record = json.loads(read_bytes(sample.shard, sample.json))
        groups[record.get("source", "sa1b")].append(sample)
    return dict(sorted(groups.items()))
