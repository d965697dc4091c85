"""Photos inside of Parquet files: a column of encoded bytes, as Hugging Face writes data sets, or of paths."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from mobilesam.data.coco import image_key
from mobilesam.data.files import FileRef
from mobilesam.data.photo import Annotation, Item, PhotoId, PhotoRef, Problem, Size
from mobilesam.errors import DataError
from mobilesam.remote import is_remote
from mobilesam.shards.parquet import open_parquet

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "bytes", "image_bytes", "picture", "photo")
"""Names of columns with encoded photos; the first that is there and holds bytes counts."""
PATH_COLUMNS = ("path", "file_name", "image_path", "file")
"""Names of columns with paths of photos; likewise."""
KEY_COLUMNS = ("image_id", "id", "key", "__key__")
"""Names of columns that tell photos without a path apart; likewise."""
PROMPT_COLUMNS = ("objects", "bbox", "point")
ROWS = 16  # photos that are read at once, and stay in memory


class NoPhotosError(DataError):
    """A Parquet file without a column of photos."""


@dataclass(frozen=True)
class CellRef(FileRef):
    """The bytes in one row of a Parquet file."""

    column: str = ""
    """Such as "image", or "image.bytes" in a struct."""
    row: tuple[int, int] = (0, 0)
    """Number of the row group, and of the row in it."""

    @property
    def num_bytes(self) -> int:
        """Size in bytes."""
        return len(self.read())

    @property
    def listed_bytes(self) -> int:
        """0: photos in a Parquet file are not read for their sizes."""
        return 0

    def read(self) -> bytes:
        """All bytes; rows that follow each other are read together.

        Raises:
            DataError: the file is no Parquet file any more, or the row is empty.
        """
        group, row = self.row
        return cursor(self.path, self.column, group).read(row)

    def read_end(self, count: int) -> bytes:
        """The last `count` bytes."""
        return self.read()[-count:] if count > 0 else b""

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes as a file."""
        yield io.BytesIO(self.read())


class Cursor:
    """Reads one column of a row group from its start, in parts: a group of many photos does not fit in memory.

    Args:
        path: of the file.
        column: of bytes.
        group: number of the row group.
    """

    def __init__(self, path: str, column: str, group: int) -> None:
        self.path, self.column, self.group = path, column, group
        self.lock = Lock()
        self.next = 0
        self.batches: Iterator[Any] = iter(())
        self.kept: deque[tuple[int, list[Any]]] = deque(maxlen=2)  # two threads read ahead, not quite in order

    def read(self, row: int) -> bytes:
        """The bytes of a row; quick for one near that of the last call."""
        with self.lock:
            if not self.kept or row < self.kept[0][0]:
                self.kept.clear()
                self.next = 0
                file = open_parquet(self.path, streams=True)
                self.batches = file.iter_batches(ROWS, row_groups=[self.group], columns=[self.column])
            while row >= self.next:
                values = flat(next(self.batches).column(0)).to_pylist()
                self.kept.append((self.next, values))
                self.next += len(values)
            value = next(values[row - start] for start, values in self.kept if start <= row < start + len(values))
        if value is None:
            raise DataError("the row holds no photo")
        return bytes(value)


cursor = lru_cache(maxsize=4)(Cursor)
"""The cursor of a column; shared, so that the photos of a shard are read in one pass."""


def flat(values: Any) -> Any:
    """The only field of a struct, as it is read for a column such as "image.bytes"; another array as it is."""
    import pyarrow as pa

    return values.flatten()[0] if pa.types.is_struct(values.type) else values


@dataclass(frozen=True)
class RowTruth:
    """The boxes and points that a row of a Parquet file has for its photo."""

    records: tuple[dict[str, Any], ...]

    def sizes(self) -> tuple[Size, ...]:
        """See `mobilesam.data.photo.Truth`."""
        return ()

    def read(self, photo: PhotoId) -> Annotation:
        """There are no masks to read."""
        return Annotation("", ())


def read_parquet(path: Path | str, dataset: str, *, encoded: bool = False) -> Iterator[Item]:
    """The photos of a Parquet file: those in a column of bytes, or those that a column of paths names.

    A photo is identified by its path where the row has one, else by the row's key, else by its number.

    Args:
        path: of the file, or its address in an object store.
        dataset: name of the data set.
        encoded: take no file with paths alone.

    Raises:
        NoPhotosError: the file has no such column.
        DataError: it is no Parquet file.
    """
    table = Table(path, dataset, open_parquet(path))
    if encoded and table.image is None:
        raise NoPhotosError(f"'{path}' holds no encoded photos")
    for group in range(table.file.metadata.num_row_groups):
        yield from table.read(group)


@dataclass
class Table:
    """A Parquet file that is being listed."""

    path: Path | str
    dataset: str
    file: Any
    number: int = 0
    """Rows so far."""
    seen: set[str] = field(default_factory=set)
    """Names so far."""

    def __post_init__(self) -> None:
        names = self.file.schema_arrow.names
        self.image = image_column(self.file.schema_arrow, has_paths=any(name in names for name in PATH_COLUMNS))
        self.paths = next((name for name in PATH_COLUMNS if name in names), None)
        if self.image is None and self.paths is None:
            wanted = f"no column of encoded photos ({', '.join(IMAGE_COLUMNS[:3])}, ...) nor of paths"
            raise NoPhotosError(f"'{self.path}' has {wanted} ({', '.join(PATH_COLUMNS)}), but {', '.join(names)}")
        columns = [self.paths, *KEY_COLUMNS, *PROMPT_COLUMNS]
        if self.image is not None and self.image.endswith(".bytes"):
            within = self.file.schema_arrow.field(self.image.removesuffix(".bytes")).type
            columns += [self.image.removesuffix("bytes") + "path"] if within.get_field_index("path") >= 0 else []
        self.columns = [name for name in columns if name and name.partition(".")[0] in names]

    def read(self, group: int) -> Iterator[Item]:
        """The photos of a row group."""
        empty = iter(self._empty(group))
        for row, values in enumerate(self._rows(group)):
            is_empty = next(empty)
            struct = values.get(str(self.image).partition(".")[0]) if self.image else None
            inner = struct.get("path") if isinstance(struct, dict) else None
            path = next((str(one) for one in (inner, values.get(self.paths or "")) if one), None)
            key = next((str(values[name]) for name in KEY_COLUMNS if values.get(name) is not None), None)
            id = PhotoId(self.dataset, self._name(path or key or f"row_{self.number:07}"))
            self.number += 1
            image_id = values.get("image_id")
            about = RowTruth(records_of(values)), None if image_id is None else image_key(image_id)
            if not is_empty:
                yield PhotoRef(id, CellRef(str(self.path), None, str(self.image), (group, row)), *about)
            elif path:
                yield PhotoRef(id, FileRef(beside(self.path, path)), *about)
            else:
                yield Problem(id, "the row holds no photo")

    def _rows(self, group: int) -> Iterator[dict[str, Any]]:
        """The rows without their photos."""
        if not self.columns:
            yield from ({} for _ in range(self.file.metadata.row_group(group).num_rows))
            return
        for batch in self.file.iter_batches(1024, row_groups=[group], columns=self.columns):
            yield from batch.to_pylist()

    def _empty(self, group: int) -> Iterator[bool]:
        """Whether each row lacks bytes; the photos are only read where the file does not tell that none does."""
        about = self.file.metadata.row_group(group)
        if self.image is None:
            yield from (True for _ in range(about.num_rows))
            return
        column = next(c for c in map(about.column, range(about.num_columns)) if c.path_in_schema == self.image)
        if column.statistics is not None and column.statistics.has_null_count and not column.statistics.null_count:
            yield from (False for _ in range(about.num_rows))
            return
        for batch in self.file.iter_batches(ROWS, row_groups=[group], columns=[self.image]):
            yield from (not valid for valid in flat(batch.column(0)).is_valid().to_pylist())

    def _name(self, path: str) -> str:
        """A name that no other row with a photo has: data sets often keep the bare file names of several folders."""
        name = path.replace("\\", "/")
        if self.image is None:  # the path tells the photo, and a table may have several rows for each
            return name
        if name in self.seen:
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem or suffix}_row_{self.number:07}" + (f"{dot}{suffix}" if stem else "")
        self.seen.add(name)
        return name


def image_column(schema: Any, *, has_paths: bool) -> str | None:
    """The column of encoded photos: one with a usual name, or the only one of bytes in a file without paths."""
    import pyarrow as pa

    def is_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    found = {}
    for one in schema:
        inner = one.type.get_field_index("bytes") if pa.types.is_struct(one.type) else -1
        if inner >= 0 and is_bytes(one.type.field(inner).type):
            found[one.name] = f"{one.name}.bytes"
        elif is_bytes(one.type):
            found[one.name] = one.name
    named = next((found[name] for name in IMAGE_COLUMNS if name in found), None)
    return named or (next(iter(found.values())) if len(found) == 1 and not has_paths else None)


def beside(path: Path | str, name: str) -> str:
    """A path that is relative to the file that names it, unless it is absolute."""
    if is_remote(name) or Path(name).is_absolute():
        return name
    return f"{str(path).rpartition('/')[0]}/{name}" if is_remote(path) else str(Path(path).parent / name)


def records_of(values: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The boxes and points of a row, a record for each: of the columns `objects`, `bbox` and `point`."""
    objects = values.get("objects") or ()
    if isinstance(objects, dict):  # a struct of lists, as Hugging Face stores a list of structs
        lists = {key: list(column) for key, column in objects.items() if isinstance(column, Sequence)}
        count = max(map(len, lists.values()), default=0)
        objects = [{key: column[i] for key, column in lists.items() if i < len(column)} for i in range(count)]
    records = [dict(one) for one in objects if isinstance(one, dict)]
    for record in records:
        record.setdefault("category_id", record.get("category", record.get("label")))
        if record.get("id") is None:
            record.pop("id", None)
    for name in ("bbox", "point"):
        found = values.get(name) or ()
        several = found if found and isinstance(found[0], Sequence) else [found] if found else []
        records += [{name: one} for one in several]
    return tuple(records)
