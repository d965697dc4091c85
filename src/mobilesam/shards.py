"""Random access to photos in tar shards of the SA-1B schema, without unpacking them.

A shard holds pairs NAME.jpg + NAME.json. One pass over the tar headers notes where each member's bytes lie; after
that any photo is one seek away. `docs/decisions/0002-random-access-shards.md` says why this and not a stream.
"""

from __future__ import annotations

import glob
import io
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam.errors import DataError
from mobilesam.masks import from_rle


class PhotoSource(Protocol):
    """One photo that has not been read yet, with what is annotated on it."""

    @property
    def name(self) -> str:
        """Of the photo, unique in its data set."""
        ...

    @property
    def where(self) -> str:
        """The file it lies in, for messages."""
        ...

    @property
    def num_bytes(self) -> int:
        """Of the encoded photo."""
        ...

    def read_record(self) -> dict[str, Any]:
        """The photo's annotations in the SA-1B schema."""
        ...

    def read_bytes(self) -> bytes:
        """The encoded photo."""
        ...

    def read_end(self, count: int) -> bytes:
        """Its last bytes."""
        ...


@dataclass(frozen=True)
class Sample:
    """Where one photo and its annotation lie: (offset, size) in bytes inside a shard."""

    shard: str
    name: str
    jpg: tuple[int, int]
    json: tuple[int, int]

    @property
    def where(self) -> str:
        """The shard."""
        return self.shard

    @property
    def num_bytes(self) -> int:
        """Of the jpg member."""
        return self.jpg[1]

    def read_record(self) -> dict[str, Any]:
        """The json member."""
        return json.loads(read_bytes(self.shard, self.json))

    def read_bytes(self) -> bytes:
        """The jpg member."""
        return read_bytes(self.shard, self.jpg)

    def read_end(self, count: int) -> bytes:
        """The end of the jpg member."""
        offset, size = self.jpg
        return read_bytes(self.shard, (offset + max(0, size - count), count))


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
        raise DataError(
            f"{path}: not a readable, uncompressed tar ({error}); fetch it again, or leave it out of data.shards"
        ) from error
    return [Sample(path, stem, m["jpg"], m["json"]) for stem, m in members.items() if len(m) == 2]


def read_bytes(shard: str, where: tuple[int, int]) -> bytes:
    """The bytes of one member."""
    with open(shard, "rb") as file:
        file.seek(where[0])
        return file.read(where[1])


def read_photo(sample: PhotoSource, *, need_record: bool = True) -> Photo:
    """Decode one photo. Its pixels stay as they are stored: masks were drawn on them, whatever EXIF says.

    Args:
        sample: where it lies.
        need_record: read the annotations too; without them the photo has none, and its source is "unread".

    Raises:
        DataError: names the file and the photo whose bytes are damaged.
    """
    try:
        record: dict[str, Any] = {"source": "unread", "annotations": []}
        if need_record:
            record = sample.read_record()
        return Photo(sample.name, source_of(record), decode(sample.read_bytes()), record["annotations"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{sample.where}: photo '{sample.name}' is damaged ({error})") from error


def decode(encoded: bytes) -> NDArray[np.uint8]:
    """Encoded photo → (H, W, 3) RGB. Pillow refuses a truncated photo, which OpenCV would fill up with grey.

    Raises:
        OSError: it is damaged or no photo.
    """
    with Image.open(io.BytesIO(encoded)) as photo:
        return np.asarray(photo.convert("RGB"))


def source_of(record: dict[str, Any]) -> str:
    """The data set a record says it comes from; SA-1B's own records say nothing."""
    return str(record.get("source") or "sa1b")
