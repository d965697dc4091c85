"""Checksums that show whether a data set or a photo has changed since it was embedded.

There are two: one of all names and sizes, by which a store is matched to its data set, and one of each photo's bytes,
which is compared whenever that photo is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from mobilesam.data.photo import PhotoRef


def listing_checksum(photos: Iterable[PhotoRef]) -> str:
    """Checksum of the names and sizes of a data set's photos, in order; independent of the data set's name.

    Equal for two data sets only if their photos can be told apart by nothing but their bytes.
    """
    lines = "\n".join(f"{photo.name} {_size(photo)}" for photo in photos)
    return f"{zlib.crc32(lines.encode()):08x}"


def _size(photo: PhotoRef) -> int:
    try:
        return photo.file.num_bytes
    except OSError:  # a broken link: reading the photo reports it as damaged
        return -1


def photo_checksum(encoded: bytes) -> str:
    """Checksum of a photo's file."""
    return f"{zlib.crc32(encoded):08x}"
