"""Random access to photos in tar shards of the SA-1B schema, without unpacking them.

A shard holds pairs NAME.jpg + NAME.json. One pass over the tar headers notes where each member's bytes lie; after
that any photo is one seek away. `docs/decisions/0002-random-access-shards.md` says why this and not a stream.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from mobilesam.data.files import FileRef, open_file
from mobilesam.data.pairs import pair_records
from mobilesam.data.photo import Item
from mobilesam.errors import DataError, first_line
from mobilesam.image import SUFFIXES


def read_tar(path: Path | str, dataset: str) -> Iterator[Item]:
    """Read every photo of a shard, in the order of the tar, with its annotation where there is one.

    Raises:
        DataError: it is no readable, uncompressed tar.
    """
    photos, records = index_tar(path)
    yield from pair_records(dataset, photos, records)


def index_tar(path: Path | str) -> tuple[dict[str, FileRef], dict[str, FileRef]]:
    """Locate the photos of a shard by their names, and its .json records by their names without suffixes.

    Of members of one name the last counts, as it does when the tar is extracted.

    Raises:
        DataError: it is no readable, uncompressed tar.
    """
    photos: dict[str, FileRef] = {}
    records: dict[str, FileRef] = {}
    try:
        with open_file(str(path)) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                stem, dot, suffix = member.name.rpartition(".")
                is_record, is_photo = suffix.lower() == "json", f".{suffix}".lower() in SUFFIXES
                is_hidden = stem.rpartition("/")[2].startswith(".")  # macOS packs a ._NAME beside each photo
                if (is_record or is_photo) and dot and member.isfile() and not is_hidden:
                    kind, name = (records, stem) if is_record else (photos, member.name)
                    kind[name] = FileRef(str(path), (member.offset_data, member.size))
    except (tarfile.TarError, OSError, ValueError, OverflowError, MemoryError) as error:  # any size may be stated
        raise DataError(
            f"{path}: not a readable, uncompressed tar ({first_line(error)}); fetch it again, or leave it out"
        ) from error
    return photos, records
