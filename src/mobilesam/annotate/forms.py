"""Writers of a shard's results: a tar in the SA-1B schema, or a Parquet file of masks. Both write the same bytes for
the same results.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from mobilesam.data.photo import PhotoId
from mobilesam.extras import require
from mobilesam.image import SUFFIXES
from mobilesam.names import fold, output_names

if TYPE_CHECKING:
    from mobilesam.annotate.work import Annotated

ROWS = 4096
"""Masks in a row group of a Parquet file, the part that readers load at once."""


class Writer(AbstractContextManager["Writer"], Protocol):
    """Writes the photos of one shard into one file."""

    def add(self, photo: Annotated) -> None:
        """Write one photo with its masks."""
        ...


def open_writer(form: str, path: Path, identity: dict[str, Any], photos: Sequence[PhotoId]) -> Writer:
    """The writer of a form.

    Args:
        form: "sa1b" or "parquet".
        path: the file.
        identity: model and settings, written where the form has a place for them.
        photos: all photos of the shard.

    Raises:
        MissingExtraError: "parquet" without pyarrow.
    """
    return TarWriter(path, photos) if form == "sa1b" else ParquetWriter(path, identity)


class TarWriter(Writer):
    """NAME.jpg and NAME.json for each photo, which `mobilesam train` and every reader of SA-1B read."""

    def __init__(self, path: Path, photos: Sequence[PhotoId]) -> None:
        self.stems = member_names(photos)
        self.tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed by __exit__)

    def add(self, photo: Annotated) -> None:
        """Write the photo as it is, and its record."""
        stem, suffix = self.stems[photo.task.photo], suffix_of(photo)
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


def member_names(photos: Sequence[PhotoId]) -> dict[PhotoId, str]:
    """Names of photos in a tar without their suffixes: their paths; where two would be equal, longer ones.

    They depend on which photos there are, and not on their order. All lie inside of the folder in which a tar is
    extracted, also those of photos that a list or a table names from a root or through "..".
    """
    paths = [split_suffix(photo.path) for photo in photos]
    stems = {photo: inside(stem) for photo, (stem, _) in zip(photos, paths, strict=True)}
    if len(set(map(fold, stems.values()))) == len(stems):
        return stems
    # As addresses, which are not completed by the folder in which a worker runs; "of/shard" keeps "photo:" out of
    # names. One without a suffix ends in a dot, or else a part of it would be taken for a suffix.
    before = f"photo://of/shard/{photos[0].dataset}"
    addresses = [f"{before}/{stem}.{suffix}" for stem, suffix in paths]
    folders = [stem.rpartition("/")[0] for stem in stems.values()]
    return dict(zip(photos, output_names(addresses, folders=folders), strict=True))


def inside(path: str) -> str:
    """A path without what leads out of a folder: its root, the ":" of a drive or an address, "." and ".."."""
    root, *rest = [part for part in path.split("/") if part not in ("", ".", "..")] or ["photo"]
    return "/".join([root.removesuffix(":") if rest else root, *rest])


def split_suffix(path: str) -> tuple[str, str]:
    """A photo's path without its suffix, and the suffix without its dot; "" for a photo of a tar, which has none."""
    stem, dot, suffix = path.rpartition(".")
    return (stem, suffix) if dot and f".{suffix.lower()}" in SUFFIXES else (path, "")


def suffix_of(photo: Annotated) -> str:
    """The suffix of a photo's path, or that of its format."""
    if suffix := split_suffix(photo.task.photo.path)[1]:
        return suffix
    with Image.open(io.BytesIO(photo.encoded)) as image:
        return {"JPEG": "jpg", "MPO": "jpg"}.get(image.format or "", str(image.format).lower())


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
