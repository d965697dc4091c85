"""Files in object stores, such as `s3://bucket/key`, by fsspec and its library for the protocol (s3fs for s3://).

An address is a text: a `Path` would fold its two slashes into one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mobilesam.errors import MissingExtraError, first_line
from mobilesam.files import replacing
from mobilesam.outputs import ALL


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address."""
    return "://" in os.fspath(path)


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it.

    Raises:
        MissingExtraError: the library of the protocol is not installed.
        OSError: there is no such protocol.
    """
    try:
        from fsspec.core import url_to_fs

        found, path = url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError("s3", f"'{url}' ({first_line(error)})") from error
    except ValueError as error:
        raise OSError(f"'{url}' cannot be opened: {first_line(error)}") from error
    return found, str(path)


def open_url(url: str) -> BinaryIO:
    """Open an object for reading in parts.

    Raises:
        OSError: it is missing or the store does not answer.
    """
    found, path = filesystem(url)
    return cast("BinaryIO", found.open(path, "rb"))


def state_of(url: str) -> tuple[int, int]:
    """Size in bytes, and time of the last change in nanoseconds where the store tells it, else 0.

    Raises:
        OSError: it is missing.
    """
    found, path = filesystem(url)
    info = found.info(path)
    changed = info.get("LastModified", info.get("mtime", info.get("updated", 0)))
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else float(changed or 0)
    return int(info["size"]), int(seconds * 1e9)


def find(url: str) -> Iterator[str]:
    """The addresses of all objects under a prefix, sorted."""
    found, path = filesystem(url)
    for name in sorted(found.find(path)):
        yield found.unstrip_protocol(name)


def is_object(url: str) -> bool:
    """Whether an address is one object, not a prefix of several."""
    found, path = filesystem(url)
    return bool(found.isfile(path))


@contextmanager
def placing(target: str) -> Iterator[Path]:
    """Yield a local path whose file takes the place of `target` when the block ends without an error.

    An object in a store appears only when its upload is complete, as a file does when it is renamed.

    Raises:
        OSError: it cannot be written.
    """
    if not is_remote(target):
        with replacing(target, ALL) as partial:
            yield partial
        return
    found, path = filesystem(target)
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / path.rpartition("/")[2]
        yield partial
        found.put_file(str(partial), path)
