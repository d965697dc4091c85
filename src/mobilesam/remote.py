"""Files in object stores, such as `s3://bucket/key`, by fsspec and its library for the protocol (s3fs for s3://).

An address is a text: a `Path` would fold its two slashes into one.
"""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mobilesam.errors import MissingExtraError, first_line
from mobilesam.files import replacing
from mobilesam.outputs import ALL

GONE = (errno.ESTALE, errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""Errors of a network folder that is gone."""


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


class StoreError(OSError):
    """A store that does not answer, or refuses the credentials: no fault of one object."""


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn the errors of a store's own library into one that says which store it was.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    try:
        yield
    except OSError:  # a missing object, a forbidden one
        raise
    except Exception as error:  # the libraries' errors share no base class
        raise StoreError(f"'{url}': the store does not answer or refuses ({first_line(error)})") from error


def is_lost(error: BaseException | None) -> bool:
    """Whether an error tells of a store or a network folder that is gone, and not of one photo."""
    while error is not None:
        if isinstance(error, StoreError | ConnectionError | TimeoutError | socket.gaierror):
            return True
        if isinstance(error, OSError) and error.errno in GONE:
            return True
        error = error.__cause__ or error.__context__
    return False


def open_url(url: str) -> BinaryIO:
    """Open an object for reading in parts.

    Raises:
        OSError: it is missing or the store does not answer.
    """
    found, path = filesystem(url)
    with answering(url):
        return cast("BinaryIO", found.open(path, "rb"))


def state_of(url: str) -> tuple[int, int]:
    """Size in bytes, and time of the last change in nanoseconds where the store tells it, else 0.

    Raises:
        OSError: it is missing.
    """
    found, path = filesystem(url)
    with answering(url):
        info = found.info(path)
    changed = info.get("LastModified", info.get("mtime", info.get("updated", 0)))
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else float(changed or 0)
    return int(info["size"]), int(seconds * 1e9)


def find(url: str) -> Iterator[str]:
    """The addresses of all objects under a prefix, sorted."""
    found, path = filesystem(url)
    with answering(url):
        names = sorted(found.find(path))
    yield from map(found.unstrip_protocol, names)


def sizes_under(url: str) -> dict[str, int]:
    """Name → size in bytes of the objects right under a prefix, looked up anew.

    Raises:
        OSError: the store does not answer.
    """
    found, path = filesystem(url)
    with answering(url):
        found.invalidate_cache()
        return {
            str(name).rpartition("/")[2]: int(about["size"]) for name, about in found.find(path, detail=True).items()
        }


def fetch(url: str, target: Path) -> None:
    """Copy an object to a file.

    Raises:
        OSError: it is missing, or the store does not answer.
    """
    found, path = filesystem(url)
    with answering(url):
        found.get_file(path, str(target))


def is_object(url: str) -> bool:
    """Whether an address is one object, not a prefix of several."""
    found, path = filesystem(url)
    with answering(url):
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
        with answering(target):
            found.put_file(str(partial), path)
