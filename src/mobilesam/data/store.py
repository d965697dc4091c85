"""Cached image embeddings: one zip of .npy members per data set, with random access, that survives a killed writer.

    NAME.npz           header.json, then for each photo PHOTO.crc32 and PHOTO.VIEW.npy (C, gh, gw), then skipped.json
    NAME.npz.partial   the same while it grows: whole records, perhaps an incomplete one at the end

A zip whose members are stored uncompressed is what `numpy.savez` writes, so `numpy.load` reads it and `unzip -t` finds
a flipped bit: every member carries its CRC-32. Its directory comes last, which is why a growing file has another name
and is scanned record by record when writing continues. `docs/decisions/0004-embedding-store.md` says why.

Only the cells that the photo covers are kept: a third of a 3:2 photo's grid is padding.

Two kinds of checksum show whether the photos have changed since they were embedded: one of all names and sizes, by
which a store is matched to its data set, and one of each photo's bytes, compared whenever that photo is read. Stores
of format 1 lack the second and can still be read.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from mobilesam.arrays import parse_npy
from mobilesam.contract import PATCH_SIZE, PIXEL_MEAN, PIXEL_STD
from mobilesam.data.photo import MALFORMED, PhotoRef, reason
from mobilesam.errors import DataError
from mobilesam.image import Frame
from mobilesam.recipe import fits, kinds
from mobilesam.text import parse_json

# C channels, gh gw cells of the grid that the photo covers

SUFFIX = ".npz"
FORMAT = 2
HEADER, SKIPPED = "header.json", "skipped.json"
Dtype = Literal["float16", "int8"]
"""What embeddings are stored as; int8 has a scale for each channel and photo."""
PREPROCESSING = f"RGB, long side to image_size by Pillow's bilinear filter, mean {PIXEL_MEAN}, std {PIXEL_STD}"
_SIGNATURE = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # of a zip member, before its name
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's earliest date, so that equal records make equal files

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
    preprocessing: str = PREPROCESSING
    format: int = FORMAT

    @property
    def listing(self) -> str:
        """Checksum of the names and sizes of the data set's photos."""
        return self.shard.rpartition(" ")[2]

    def differences(self, other: StoreHeader) -> str:
        """Describe how two headers differ; empty if they are compatible. Data set name and format may differ."""
        mine, others = asdict(self), asdict(other)
        keys = {key for key in mine if mine[key] != others[key]} - {"format"}
        if self.listing == other.listing:
            keys -= {"shard"}
        return "; ".join(f"{key} is {others[key]}, not {mine[key]}" for key in mine if key in keys)


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


class StoreWriter:
    """Writer of an unfinished store, which continues where a killed writer stopped.

    Args:
        path: the finished file's name.
        header: what is going to be in it.

    Raises:
        DataError: what is there was begun with another header.
    """

    def __init__(self, path: Path, header: StoreHeader) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.header = header
        # Unbuffered: every write reaches the system at once, so that closing the file on a full disk cannot fail.
        self.file = open(self.partial, "a+b", buffering=0)  # noqa: SIM115 - closed by __exit__
        self.members: list[zipfile.ZipInfo] = []
        try:
            self.recover()
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def recover(self) -> None:
        """Keep the complete records of a file whose writer was killed, and truncate the rest."""
        self.members = list(_unmixed(scan(self.file)))
        while self.members and self.members[-1].filename.endswith((".scale.npy", ".crc32")):
            self.members.pop()  # scales and checksums whose record was not written any more
        if self.members and self.members[-1].filename == SKIPPED:
            self.members.pop()  # the writer was killed while finishing; the last member is written again
        self.names = {member.filename for member in self.members}
        end = _end(self.members[-1]) if self.members else 0
        self.file.truncate(end)
        if not self.members:
            self.write(HEADER, json.dumps(asdict(self.header), indent=1).encode())
            return
        begun = _parse_header(_payload(self.file, self.members[0]), self.partial)
        if different := self.header.differences(begun):
            raise DataError(f"{self.partial} has other settings ({different}); delete it, or choose another folder")

    def __contains__(self, photo_view: tuple[str, int]) -> bool:
        return record_name(*photo_view) in self.names

    def add(self, photo: str, view: int, embedding: Embedding, checksum: str = "") -> None:
        """Store one embedding.

        Args:
            photo: its path in its data set.
            view: 0 for the whole photo.
            embedding: (C, gh, gw).
            checksum: `photo_checksum` of the photo's file, kept with view 0; empty for none.

        Raises:
            DataError: the embedding holds NaN or infinity, or the disk is full; what was stored stays.
        """
        if not np.isfinite(embedding).all():
            raise DataError(f"photo '{photo}': the teacher's embedding is not finite; run it in 32-true")
        if checksum and view == 0:
            self.write(checksum_name(photo), checksum.encode())
        if self.header.dtype == "int8":
            scale = np.maximum(np.abs(embedding).max(axis=(1, 2)) / 127, 1e-6).astype(np.float16)
            codes = np.rint(embedding / scale.astype(np.float32)[:, None, None]).clip(-127, 127).astype(np.int8)
            self.write(scale_name(photo, view), to_npy(scale))
            self.write(record_name(photo, view), to_npy(codes))
        else:
            self.write(record_name(photo, view), to_npy(embedding.astype(np.float16)))

    def write(self, name: str, data: bytes) -> None:
        """Append one zip member."""
        member = zipfile.ZipInfo(name, _EPOCH)
        member.CRC = zlib.crc32(data)
        member.compress_size = member.file_size = len(data)
        try:
            member.header_offset = self.file.seek(0, os.SEEK_END)
            rest = memoryview(member.FileHeader() + data)
            while rest:  # a nearly full disk accepts a part, then fails
                rest = rest[self.file.write(rest) :]
        except OSError as error:
            raise DataError(
                f"{self.partial}: {error.strerror}; {len(self.members)} records are kept. "
                "Make room and run the same command again"
            ) from error
        self.members.append(member)
        self.names.add(name)

    def finish(self, skipped: dict[str, str]) -> Path:
        """Close the zip and give it its name.

        Args:
            skipped: photos of the shard that have no embedding, and why.

        Raises:
            DataError: the disk is full.
        """
        self.write(SKIPPED, json.dumps(skipped, indent=1, sort_keys=True).encode())
        self.file.close()
        try:
            with open(self.partial, "r+b") as file:
                file.seek(0, os.SEEK_END)
                with zipfile.ZipFile(file, "w") as archive:  # appends its directory to the members that are there
                    archive.filelist = self.members
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"{self.partial}: {error.strerror}; make room and run the same command again") from error
        os.replace(self.partial, self.path)
        return self.path


class Store:
    """Random access to a finished store, memory-mapped; every record is checked as it is read.

    Args:
        path: a .npz of `StoreWriter`.

    Raises:
        DataError: it is damaged or no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
                self.members = {member.filename: member for member in archive.infolist()}
                if len(self.members) < len(archive.infolist()):
                    raise DataError("two records have one name")
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # outlives the file object
            header = bytes(self.payload(HEADER))
            self.skipped: dict[str, str] = parse_json(bytes(self.payload(SKIPPED)))
            if not fits(self.skipped, dict[str, str]):
                raise DataError(f"{SKIPPED} must give the reason for each skipped photo")
        except (OSError, zipfile.BadZipFile, NotImplementedError, *MALFORMED) as error:
            raise DataError(f"{path}: damaged, or no store of embeddings ({reason(error)})") from error
        self.header = _parse_header(header, path)
        self.photos = {name.removesuffix(".0.npy") for name in self.members if name.endswith(".0.npy")}

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)  # a mapping cannot be pickled: each worker process maps the file itself

    def payload(self, name: str) -> memoryview:
        """Read the bytes of one zip member and check them.

        Raises:
            DataError: they are not what was written, or there is no such member.
        """
        if name not in self.members:
            raise DataError(f"{self.path}: there is no record '{name}'")
        member = self.members[name]
        start = _payload_start(member)
        data = memoryview(self.map)[start : start + member.file_size]
        encoded = name.encode()  # names have no checksum, but are there twice
        if zlib.crc32(data) != member.CRC or self.map[start - len(encoded) : start] != encoded:
            raise DataError(
                f"{self.path}: record '{name}' is damaged (its checksum or its name differs); "
                "delete this file and run `mobilesam distill embed` again"
            )
        return data

    def read(self, photo: str, view: int = 0) -> Embedding:
        """The embedding (C, gh, gw) of one view.

        Raises:
            DataError: the record is damaged, of another shape than the header says, or missing.
        """
        name = record_name(photo, view)
        values = self._array(name, np.float16, np.int8)
        grid = self.header.image_size // PATCH_SIZE
        if values.ndim != 3 or values.shape[0] != self.header.embed_dim or max(values.shape[1:]) > grid:
            raise DataError(
                f"{self.path}: record '{name}' is damaged: its shape {values.shape} is not "
                f"({self.header.embed_dim}, up to {grid}, up to {grid})"
            )
        if values.dtype == np.int8:
            scale = self._array(scale_name(photo, view), np.float16)
            if scale.shape != values.shape[:1]:
                raise DataError(f"{self.path}: record '{name}' is damaged: {scale.shape} scales for {values.shape}")
            return values.astype(np.float32) * scale.astype(np.float32)[:, None, None]
        return values.astype(np.float32)

    def _array(self, name: str, *dtypes: type[np.generic]) -> NDArray[Any]:
        try:
            return parse_npy(self.payload(name), *dtypes)
        except DataError as error:
            raise DataError(f"{self.path}: record '{name}' is damaged: {error}") from error

    def check_photo(self, photo: str, encoded: bytes) -> None:
        """Refuse a photo that has changed since it was embedded. Stores of format 1 have no checksums to compare.

        Args:
            photo: its path in its data set.
            encoded: its file.

        Raises:
            DataError: its bytes differ.
        """
        if self.differs(photo, encoded):
            raise DataError(
                f"photo '{photo}' has changed since {self.path} was written; delete that file and run "
                "`mobilesam distill embed` again"
            )

    def differs(self, photo: str, encoded: bytes) -> bool:
        """Whether a photo's file is known to differ from the one that was embedded."""
        name = checksum_name(photo)
        return name in self.members and bytes(self.payload(name)) != photo_checksum(encoded).encode()

    def is_of(self, photos: Sequence[PhotoRef]) -> bool:
        """Whether the store was made from these photos, judged by the checksum of the first one that it holds."""
        first = next((photo for photo in photos if photo.name in self.photos), None)
        return first is not None and not self.differs(first.name, first.file.read())

    def verify(self) -> list[str]:
        """Read the whole store and return the names of damaged members."""
        damaged = []
        for name in self.members:
            try:
                self.payload(name)
            except DataError:
                damaged.append(name)
        return damaged


def find_stores(folder: Path) -> list[Path]:
    """Find the finished stores of a folder.

    Raises:
        DataError: there is none.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise DataError(f"{folder}: no store of embeddings; write it with `mobilesam distill embed RECIPE -o {folder}`")
    return files


def read_header(path: Path) -> StoreHeader | None:
    """Read the header of a store, finished or not, without the zip directory; None where it is incomplete."""
    with open(path, "rb") as file:
        first = next(scan(file), None)
        if first is None or first.filename != HEADER:
            return None
        return _parse_header(_payload(file, first), path)


def _parse_header(data: bytes, path: Path) -> StoreHeader:
    try:
        record = parse_json(data)
        format = record.get("format")
        header = None if fits(format, int) and format > FORMAT else StoreHeader(**record)
    except MALFORMED as error:
        raise DataError(f"{path}: no header of a store ({reason(error)})") from error
    if header is None:
        raise DataError(f"{path} has format {format}, this version reads up to {FORMAT}; upgrade mobilesam")
    for name, kind in kinds(StoreHeader).items():
        if not fits(getattr(header, name), kind):
            raise DataError(f"{path}: no header of a store ({name} is {getattr(header, name)!r:.40})")
    return header


def scan(file: BinaryIO) -> Iterator[zipfile.ZipInfo]:
    """Yield the complete members of a zip that has no directory yet; stops at the first incomplete one."""
    offset = 0
    while True:
        file.seek(offset)
        fixed = file.read(_LOCAL_HEADER.size)
        if len(fixed) < _LOCAL_HEADER.size:
            return
        signature, *_, crc, stored, size, name_length, extra_length = _LOCAL_HEADER.unpack(fixed)
        if signature != _SIGNATURE or extra_length or stored != size:
            return
        name = file.read(name_length)
        data = file.read(size)
        if len(name) < name_length or len(data) < size or zlib.crc32(data) != crc:
            return
        try:
            member = zipfile.ZipInfo(name.decode("utf-8"), _EPOCH)
        except ValueError:  # names have no checksum of their own
            return
        member.CRC, member.header_offset = crc, offset
        member.compress_size = member.file_size = size
        yield member
        offset = _end(member)


def _unmixed(members: Iterable[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """Yield members up to the first whose name must be damaged: names have no checksum.

    A photo's checksum and a record's scales come right before the record, under the same name, and no name repeats.
    """
    names: set[str] = set()
    checksum = scale = ""
    for member in members:
        name = member.filename
        record = name.removesuffix(".npy").removesuffix(".scale")
        is_next = record.startswith(checksum) and (not scale or record == scale)
        if name in names or not is_next:
            return
        names.add(name)
        checksum = (
            f"{name.removesuffix('.crc32')}." if name.endswith(".crc32") else checksum * name.endswith(".scale.npy")
        )
        scale = record if name.endswith(".scale.npy") else ""
        yield member


def _payload_start(member: zipfile.ZipInfo) -> int:
    return member.header_offset + _LOCAL_HEADER.size + len(member.filename.encode("utf-8"))


def _end(member: zipfile.ZipInfo) -> int:
    return _payload_start(member) + member.file_size


def _payload(file: BinaryIO, member: zipfile.ZipInfo) -> bytes:
    file.seek(_payload_start(member))
    return file.read(member.file_size)
