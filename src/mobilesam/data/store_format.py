"""The format of a store of embeddings: its header, the names of its members, and how they lie in the file.

    NAME.npz   header.json, then for each photo PHOTO.crc32 and PHOTO.VIEW.npy (C, gh, gw), then skipped.json

A zip whose members are stored uncompressed is what `numpy.savez` writes, so `numpy.load` reads it and `unzip -t` finds
a flipped bit: every member carries its CRC-32. `docs/decisions/0004-embedding-store.md` says why.

Only the cells that the photo covers are kept: a third of a 3:2 photo's grid is padding.

A store of format 1 lacks the members PHOTO.crc32 and can still be read.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilesam.contract import PATCH_SIZE, PIXEL_MEAN, PIXEL_STD
from mobilesam.data.photo import MALFORMED, reason
from mobilesam.errors import DataError
from mobilesam.image import Frame
from mobilesam.settings import fits, kinds
from mobilesam.text import parse_json

SUFFIX = ".npz"
FORMAT = 2
HEADER, SKIPPED = "header.json", "skipped.json"
Dtype = Literal["float16", "int8"]
"""What embeddings are stored as; int8 has a scale for each channel and photo."""
PREPROCESSING = f"RGB, long side to image_size by Pillow's bilinear filter, mean {PIXEL_MEAN}, std {PIXEL_STD}"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # of a zip member, before its name
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's earliest date, so that equal records make equal files
Embedding = NDArray[np.float32]


@dataclass(frozen=True)
class StoreHeader:
    """How a store's embeddings were made; it must match before they are used or more are added."""

    teacher: str
    """sha256 of the weights (`model.backend.weights_sha256`)."""
    image_size: int
    embed_dim: int
    shard: str
    """Name of the data set when it was embedded, and `listing_checksum` of its photos."""
    dtype: str = "float16"
    views: int = 1
    view_seed: int = 0
    keeps_padding: bool = False
    unclear_frame: Frame = "upright"
    """The frame assumed for unclear annotations; see `PhotoRef.unclear_frame`."""
    value_range: tuple[float, float] | None = None
    """Black and white of photos of more than 8 bits; see `PhotoRef.value_range`. Written only where it is given."""
    preprocessing: str = PREPROCESSING
    format: int = FORMAT

    @property
    def listing(self) -> str:
        """Checksum of the names and sizes of the data set's photos."""
        return self.shard.rpartition(" ")[2]

    def to_json(self) -> bytes:
        """The first member of a store."""
        record = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps(record, indent=1).encode()

    def differences(self, other: StoreHeader) -> str:
        """Describe how two headers differ; empty if they are compatible. Data set name and format may differ."""
        mine, others = asdict(self), asdict(other)
        keys = {key for key in mine if mine[key] != others[key]} - {"format"}
        if self.listing == other.listing:
            keys -= {"shard"}
        return "; ".join(f"{key} is {others[key]}, not {mine[key]}" for key in mine if key in keys)


def covered_cells(input_hw: tuple[int, int]) -> tuple[int, int]:
    """Number of rows and columns of the embedding grid that a resized photo covers."""
    return -(-input_hw[0] // PATCH_SIZE), -(-input_hw[1] // PATCH_SIZE)


def record_name(photo: str, view: int) -> str:
    """Name of the zip member that holds one view of one photo."""
    return f"{photo}.{view}.npy"


def scale_name(photo: str, view: int) -> str:
    """Name of the zip member that holds the channels' scales of an int8 record."""
    return f"{photo}.{view}.scale.npy"


def checksum_name(photo: str) -> str:
    """Name of the zip member that holds the checksum of a photo's file."""
    return f"{photo}.crc32"


def to_npy(array: NDArray[np.generic]) -> bytes:
    """Serialise an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def parse_header(data: bytes, path: Path) -> StoreHeader:
    """Read the first member of a store.

    Raises:
        DataError: a later version wrote it, or it is damaged.
    """
    try:
        record = parse_json(data)
        format = record.get("format")
        if isinstance(record.get("value_range"), list):
            record["value_range"] = tuple(record["value_range"])
        header = None if fits(format, int) and format > FORMAT else StoreHeader(**record)
    except MALFORMED as error:
        raise DataError(f"{path}: no header of a store ({reason(error)})") from error
    if header is None:
        raise DataError(f"{path} has format {format}, this version reads up to {FORMAT}; upgrade mobilesam")
    for name, kind in kinds(StoreHeader).items():
        if not fits(getattr(header, name), kind):
            raise DataError(f"{path}: no header of a store ({name} is {getattr(header, name)!r:.40})")
    return header


def payload_start(member: zipfile.ZipInfo) -> int:
    """Offset of a member's data in the file, whose local header has no extra fields."""
    return member.header_offset + _LOCAL_HEADER.size + len(member.filename.encode("utf-8"))
