"""Reading columns of Parquet files in parts; needs the extra `parquet` (pyarrow)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mobilesam.errors import DataError, first_line
from mobilesam.extras import require
from mobilesam.remote import is_remote, open_url


def open_parquet(path: Path | str) -> Any:
    """A `pyarrow.parquet.ParquetFile`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: it is no Parquet file.
    """
    require("pyarrow", "parquet", "reading and writing Parquet files")
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        # Given a path, pyarrow closes the file by itself.
        return ParquetFile(open_url(str(path)) if is_remote(path) else path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"'{path}' is not a Parquet file ({first_line(error)})") from error


def read_column(path: Path | str, names: Sequence[str]) -> Iterator[str]:
    """The values of the first of the named columns that is there, as texts.

    Raises:
        DataError: there is none of them.
    """
    file = open_parquet(path)
    there = [name for name in names if name in file.schema_arrow.names]
    if not there:
        raise DataError(f"'{path}' has no column {' or '.join(names)}, but {', '.join(file.schema_arrow.names)}")
    for batch in file.iter_batches(columns=there[:1]):
        yield from (str(value) for value in batch.column(0).to_pylist() if value is not None)


def read_rows(path: Path | str) -> Iterator[dict[str, Any]]:
    """Every row as a dict."""
    for batch in open_parquet(path).iter_batches():
        yield from batch.to_pylist()
