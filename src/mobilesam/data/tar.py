"""Random access to photos in tar shards of the SA-1B schema, without unpacking them.

A shard holds pairs NAME.jpg + NAME.json. One pass over the tar headers notes where each member's bytes lie; after
that any photo is one seek away. `docs/decisions/0002-random-access-shards.md` says why this and not a stream.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from mobilesam.data.files import FileRef, open_file
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem
from mobilesam.data.truths import RecordTruth
from mobilesam.errors import DataError, first_line
from mobilesam.image import SUFFIXES

NO_PHOTO = "an annotation without a photo of its name"


def read_tar(path: Path | str, dataset: str) -> Iterator[Item]:
    """Read every photo of a shard, in the order of the tar, with its annotation where there is one.

    Raises:
        DataError: it is no readable, uncompressed tar.
    """
    photos, records = index_tar(path)
    for stem, file in photos.items():
        record = records.pop(stem, None)
        yield PhotoRef(PhotoId(dataset, stem), file, None if record is None else RecordTruth(record))
    for stem in records:
        yield Problem(PhotoId(dataset, stem), NO_PHOTO)


def index_tar(path: Path | str) -> tuple[dict[str, FileRef], dict[str, FileRef]]:
    """Locate the photos and the .json records of a shard, by their names without suffixes.

    Raises:
        DataError: it is no readable, uncompressed tar.
    """
    photos: dict[str, FileRef] = {}
    records: dict[str, FileRef] = {}
    try:
        with open_file(str(path)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                stem, dot, suffix = member.name.rpartition(".")
                kind = records if suffix == "json" else photos if f".{suffix}".lower() in SUFFIXES else None
                is_hidden = stem.rpartition("/")[2].startswith(".")  # macOS packs a ._NAME beside each photo
                if kind is not None and dot and member.isfile() and not is_hidden:
                    kind[stem] = FileRef(str(path), (member.offset_data, member.size))
    except (tarfile.TarError, OSError, ValueError, OverflowError, MemoryError) as error:  # any size may be stated
        raise DataError(
            f"{path}: not a readable, uncompressed tar ({first_line(error)}); fetch it again, or leave it out"
        ) from error
    return photos, records
