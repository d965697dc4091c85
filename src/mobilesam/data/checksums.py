"""Checksums that show whether a data set or a photo has changed since it was embedded.

There are two: one of all names and sizes, by which a store is matched to its data set, and one of each photo's bytes,
which is compared whenever that photo is read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from mobilesam.data.photo import PhotoRef


class Listings:
    """Checksums of the names and sizes of the photos of several data sets, which are told one after the other."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}

    def add(self, photo: PhotoRef, size: int) -> None:
        """Take the next photo of a data set, and its size in bytes."""
        before = self._sums.get(photo.id.dataset)
        line = f"{photo.name} {size}" if before is None else f"\n{photo.name} {size}"
        self._sums[photo.id.dataset] = zlib.crc32(line.encode(), before or 0)

    def checksums(self) -> dict[str, str]:
        """Data set → `listing_checksum` of its photos."""
        return {dataset: f"{value:08x}" for dataset, value in self._sums.items()}


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
