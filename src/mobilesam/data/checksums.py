"""Checksums that show whether a data set or a photo has changed.

Since it was embedded: one of all names and sizes, by which a store is matched to its data set, and one of each photo's
bytes, which is compared whenever that photo is read. Since it was evaluated: one of the bytes of a photo and its
annotation and one of their sizes, which copies share, and one of their modification times.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from mobilesam.data.files import FileRef, file_state
from mobilesam.data.photo import PhotoId, PhotoRef, Truth
from mobilesam.data.truths import CocoTruth, PixelTruth, RecordTruth, YoloTruth

PART = 1 << 20  # bytes that are read at a time
UNKNOWN = (OSError, ValueError, RecursionError)  # a missing file, an impossible name, records nested without end


class Listings:
    """Computes `listing_checksum` for several data sets while their photos are listed one by one."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}

    def add(self, photo: PhotoRef, size: int) -> None:
        """Add the next photo of a data set, with its size in bytes."""
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
        return photo.file.listed_bytes
    except OSError:  # a broken link: reading the photo reports it as damaged
        return -1


def photo_checksum(encoded: bytes) -> str:
    """Checksum of a photo's file."""
    return f"{zlib.crc32(encoded):08x}"


def content_checksum(photo: PhotoRef) -> str:
    """Checksum of the sizes in bytes of a photo and its annotation; of a COCO file, of its records of the photo.

    It reads no photo. Reports of older versions have it alone. Empty where a file is missing or malformed.
    """
    files = [photo.file, *truth_files(photo.truth)]
    try:
        return _digest([[file.num_bytes for file in files], _records(photo.truth)])
    except UNKNOWN:
        return ""


def bytes_checksum(photo: PhotoRef) -> str:
    """Checksum of the bytes of a photo and its annotation; of a COCO file, of its records of the photo.

    Copies of a data set have the same, wherever they lie. Empty where a file is missing or malformed. Reads the files
    in parts.
    """
    files = [photo.file, *truth_files(photo.truth)]
    try:
        return _digest([[_hash(file) for file in files], _records(photo.truth)])
    except UNKNOWN:
        return ""


def _hash(file: FileRef) -> str:
    found = hashlib.sha256()
    with file.open() as stream:
        while part := stream.read(PART):
            found.update(part)
    return found.hexdigest()


def state_checksum(photo: PhotoRef) -> str:
    """As `content_checksum`, with the place and the modification time of the files, or of the tar that they are in.

    Equal only if nothing was written to them in between.
    """
    files = [photo.file, *truth_files(photo.truth)]
    try:
        return _digest([[[file_state(file.path), file.member] for file in files], _records(photo.truth)])
    except UNKNOWN:
        return ""


def truth_files(truth: Truth | None) -> list[FileRef]:
    """The file that holds the annotation of one photo alone, if there is one."""
    return [truth.file] if isinstance(truth, RecordTruth | PixelTruth | YoloTruth) else []


def data_checksums(contents: Iterable[tuple[PhotoId, str]]) -> dict[str, str]:
    """Data set → checksum of the paths of its photos and of a checksum of each, in any order."""
    lines: dict[str, list[str]] = defaultdict(list)
    for photo, content in contents:
        lines[photo.dataset].append(f"{photo.path} {content}")
    return {dataset: _digest(sorted(members)) for dataset, members in lines.items()}


def _records(truth: Truth | None) -> Any:
    return [truth.image, truth.records, truth.ids_repeat] if isinstance(truth, CocoTruth) else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
