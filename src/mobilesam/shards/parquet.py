"""Reading columns of Parquet files in parts; needs the extra `parquet` (pyarrow)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilesam.errors import DataError, first_line
from mobilesam.extras import require
from mobilesam.remote import is_remote, open_url


def open_parquet(path: Path | str, *, streams: bool = False) -> Any:
    """A `pyarrow.parquet.ParquetFile`.

    Args:
        path: of the file, or its address in an object store.
        streams: read columns in parts of a megabyte instead of whole row groups, for columns of photos.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: it is no Parquet file.
    """
    require("pyarrow", "parquet", "reading and writing Parquet files")
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        # Given a path, pyarrow closes the file by itself.
        options: dict[str, Any] = {"pre_buffer": False, "buffer_size": 2**20} if streams else {}
        return ParquetFile(open_url(str(path)) if is_remote(path) else path, **options)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"'{path}' is not a Parquet file ({first_line(error)})") from error


def read_rows(path: Path | str) -> Iterator[dict[str, Any]]:
    """Every row as a dict."""
    for batch in open_parquet(path).iter_batches():
        yield from batch.to_pylist()
