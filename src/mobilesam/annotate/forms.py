"""Writers of a shard's results: a tar in the SA-1B schema, or a Parquet file of masks. Both write the same bytes for
the same results.
"""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from mobilesam.extras import require
from mobilesam.image import SUFFIXES

if TYPE_CHECKING:
    from mobilesam.annotate.work import Annotated

ROWS = 4096
"""Masks in a row group of a Parquet file, the part that readers load at once."""


class Writer(AbstractContextManager["Writer"], Protocol):
    """Writes the photos of one shard into one file."""

    def add(self, photo: Annotated) -> None:
        """Write one photo with its masks."""
        ...


def open_writer(form: str, path: Path, identity: dict[str, Any]) -> Writer:
    """The writer of a form.

    Args:
        form: "sa1b" or "parquet".
        path: the file.
        identity: model and settings, written where the form has a place for them.

    Raises:
        MissingExtraError: "parquet" without pyarrow.
    """
    return TarWriter(path) if form == "sa1b" else ParquetWriter(path, identity)


class TarWriter(Writer):
    """NAME.jpg and NAME.json for each photo, which `mobilesam train` and every reader of SA-1B read."""

    def __init__(self, path: Path) -> None:
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed by __exit__)
        self.stems: set[str] = set()

    def add(self, photo: Annotated) -> None:
        """Write the photo as it is, and its record."""
        stem, suffix = split_name(photo)
        if stem in self.stems:  # a.png beside a.jpg
            stem = f"{stem}_{suffix}"
        self.stems.add(stem)
        h, w = photo.hw
        image = {"file_name": f"{stem}.{suffix}", "width": w, "height": h, "image_id": photo.task.image_id}
        image["photo"] = str(photo.task.photo)  # its identity, which the name of a member cannot always be
        record = {"image": image, "annotations": [{"id": i, **one} for i, one in enumerate(photo.records)]}
        self._member(f"{stem}.{suffix}", photo.encoded)
        self._member(f"{stem}.json", json.dumps(record).encode())

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)  # times and owners stay 0, so that bytes depend on the results alone
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def __exit__(self, *_: object) -> None:
        self.tar.close()


def split_name(photo: Annotated) -> tuple[str, str]:
    """The photo's path without its suffix, and the suffix; photos of a tar have none in their identity."""
    path = photo.task.photo.path
    stem, dot, suffix = path.rpartition(".")
    if dot and f".{suffix.lower()}" in SUFFIXES:
        return stem, suffix
    with Image.open(io.BytesIO(photo.encoded)) as image:
        return path, {"JPEG": "jpg", "MPO": "jpg"}.get(image.format or "", str(image.format).lower())


class ParquetWriter(Writer):
    """A row for each mask; photos without masks have one row whose mask columns are empty."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        require("pyarrow", "parquet", "writing Parquet files")
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter as Native

        numbers, text = pa.list_(pa.float64()), pa.string()
        fields = {"dataset": text, "photo": text, "image_id": text, "height": pa.int32(), "width": pa.int32()}
        fields |= {"rle": text, "bbox": pa.list_(pa.int32()), "area": pa.int64(), "score": pa.float64()}
        fields |= {"stability_score": pa.float64(), "prompt_id": text, "prompt_box": numbers, "prompt_point": numbers}
        fields |= {"category_id": pa.int64(), "prompt_score": pa.float64()}
        schema = pa.schema(list(fields.items()), metadata={"mobilesam": json.dumps(identity, sort_keys=True)})
        self.schema, self.table = schema, pa.Table
        self.native = Native(str(path), schema, compression="zstd")
        self.rows: list[dict[str, Any]] = []

    def add(self, photo: Annotated) -> None:
        """Add the rows of one photo."""
        task = photo.task
        image_id = None if task.image_id is None else str(task.image_id)
        about: dict[str, Any] = {"dataset": task.photo.dataset, "photo": task.photo.path, "image_id": image_id}
        about |= {"height": photo.hw[0], "width": photo.hw[1]}
        self.rows += [{**about, **to_row(record)} for record in photo.records] or [about]
        if len(self.rows) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.rows:
            self.native.write_table(self.table.from_pylist(self.rows, schema=self.schema))
        self.rows = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self.native.close()


def to_row(record: dict[str, Any]) -> dict[str, Any]:
    """A record in SA-1B's schema as a row; the box becomes COCO's, whose width counts pixels."""
    x, y, width, height = record["bbox"]
    is_empty = not record["area"]
    return {
        "rle": record["segmentation"]["counts"],
        "bbox": [x, y, 0, 0] if is_empty else [x, y, width + 1, height + 1],
        "area": record["area"],
        "score": record["predicted_iou"],
        "stability_score": record.get("stability_score"),
        "prompt_id": record.get("prompt_id"),
        "prompt_box": record.get("prompt_box"),
        "prompt_point": record["point_coords"][0] if "point_coords" in record else None,
        "category_id": record.get("category_id"),
        "prompt_score": record.get("prompt_score"),
    }
