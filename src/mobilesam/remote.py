"""Files in object stores, such as `s3://bucket/key`, by fsspec and its library for the protocol (s3fs for s3://).

An address is a text: a `Path` would fold its two slashes into one.
"""

from __future__ import annotations

import errno
import glob
import io
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mobilesam import temporaries
from mobilesam.errors import MissingExtraError, first_line
from mobilesam.files import replacing
from mobilesam.outputs import ALL
from mobilesam.ranges import RangeFile

GONE = (errno.ESTALE, errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH)
"""Errors of a network folder that is gone."""
BUSY = (errno.EBUSY, getattr(errno, "EREMOTEIO", 121))
"""What s3fs makes of answers such as 503 and 500, after it has tried again."""
BUCKETS = ("s3", "s3a", "gs", "gcs")
"""Protocols whose paths begin with the name of a bucket."""
BLOCK = 2**16  # bytes that are fetched at once where an object is read in small parts, such as the headers of a tar


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address."""
    return "://" in os.fspath(path)


def on_disk(paths: Iterable[str]) -> list[str]:
    """Those of some paths, shell patterns and addresses that are no addresses in object stores."""
    return [path for path in paths if not is_remote(path)]


def copy_first(url: str) -> str:
    """The message of what reads only files on a disk, and was given an address."""
    return (
        f"'{url}' is in an object store, from which only `mobilesam annotate` and `mobilesam distill embed` read; "
        "copy it to a disk, for instance with `aws s3 sync`, and name the copy"
    )


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
    """A store that does not answer, or refuses: no fault of one object."""


class RefusedError(StoreError):
    """A store that refuses a request: because of the credentials, or of this object alone."""


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn the errors of a store's own library into one that says which store it was.

    Raises:
        StoreError: the store does not answer, refuses, or has no such bucket.
        FileNotFoundError: only the object is missing.
    """
    try:
        yield
    except FileNotFoundError as error:
        check_bucket(url, error)
        raise
    except (StoreError, IsADirectoryError, NotADirectoryError):
        raise
    except Exception as error:  # the libraries' errors share no base class
        is_refusal = isinstance(error, OSError) and error.errno not in BUSY and not is_lost(error)
        kind = RefusedError if is_refusal else StoreError
        raise kind(f"'{url}': the store does not answer or refuses ({first_line(error)})") from error


def check_bucket(url: str, error: BaseException | None = None) -> None:
    """Refuse an address whose bucket is gone.

    Raises:
        StoreError: it is gone.
    """
    if url.partition("://")[0] not in BUCKETS:
        return
    found, path = filesystem(url)
    bucket = path.partition("/")[0]
    found.invalidate_cache(bucket)  # its listing is of a time when it was there
    if not (found.exists(bucket) or is_key_missing(found, path)):
        raise StoreError(f"'{url}': there is no bucket '{bucket}'") from error


def is_key_missing(found: Any, path: str) -> bool:
    """Whether the store says that it is the object that is missing; who may not ask for a bucket is told that."""
    try:
        found.cat_file(path, start=0, end=1)
    except FileNotFoundError as error:
        return bool(getattr(error.__cause__, "response", {}).get("Error", {}).get("Code") == "NoSuchKey")
    except Exception:  # the libraries' errors share no base class
        return False
    return True


def is_lost(error: BaseException | None) -> bool:
    """Whether an error tells of a store or a network folder that is gone, and not of one photo."""
    while error is not None:
        if isinstance(error, StoreError | ConnectionError | TimeoutError | socket.gaierror):
            return True
        if isinstance(error, OSError) and error.errno in GONE:
            return True
        error = error.__cause__ or error.__context__
    return False


def is_refusal(error: BaseException | None) -> bool:
    """Whether an error tells of a refused request, which may be the fault of one object."""
    return isinstance(cause_of(error, StoreError), RefusedError)


def cause_of(
    error: BaseException | None, kinds: type[BaseException] | tuple[type[BaseException], ...]
) -> BaseException | None:
    """The first of some kinds among an error and its causes."""
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__ or error.__context__
    return error


def read_range(url: str, start: int, end: int) -> bytes:
    """Fetch the bytes of an object from `start` up to `end`, and no others.

    Raises:
        OSError: it is missing or the store does not answer.
    """
    if start >= end:
        return b""
    found, path = filesystem(url)
    with answering(url):
        return bytes(found.cat_file(path, start=start, end=end))


def open_url(url: str) -> BinaryIO:
    """Open an object for reading in parts; only these parts are fetched, in blocks of 64 KiB or more.

    Raises:
        OSError: it is missing or the store does not answer.
    """
    file = RangeFile(lambda start, end: read_range(url, start, end), state_of(url)[0])
    return cast("BinaryIO", io.BufferedReader(file, BLOCK))


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
    """The addresses of all objects under a prefix, sorted.

    Raises:
        OSError: the store does not answer, or has no such bucket.
    """
    found, path = filesystem(url)
    with answering(url):
        names = sorted(found.find(path))
    if not names:
        check_bucket(url)
    yield from (address(found, name, url) for name in names)


def address(found: Any, name: str, url: str) -> str:
    """The address of a name that a file system lists under another address, written as that one is."""
    own, start = f"{url.partition('://')[0]}://{name.lstrip('/')}", re.split(r"[*?\[]", url)[0].rstrip("/")
    return own if own.startswith(start) else str(found.unstrip_protocol(name))


def matching(url: str) -> list[str]:
    """The addresses that a shell pattern such as s3://bucket/*.tar matches, sorted; one without `*?[` as it is.

    A name that holds these characters itself comes first.

    Raises:
        OSError: the store does not answer, or has no such bucket.
    """
    if not glob.has_magic(url):
        return [url]
    found, path = filesystem(url)
    with answering(url):
        if found.exists(path):
            return [url]
        names = sorted(found.glob(path))
    if not names:
        check_bucket(url)
    return [address(found, name, url) for name in names]


def names_in(url: str) -> set[str]:
    """Names of the objects right under a prefix; none where there is no such prefix.

    Raises:
        OSError: the store does not answer, or has no such bucket.
    """
    found, path = filesystem(url)
    try:
        with answering(url):
            listed = found.ls(path, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {str(one["name"]).rpartition("/")[2] for one in listed if one["type"] == "file"}


def sizes_under(url: str) -> dict[str, int]:
    """Name → size in bytes of the objects right under a prefix, looked up anew.

    Raises:
        OSError: the store does not answer, or has no such bucket.
    """
    found, path = filesystem(url)
    with answering(url):
        found.invalidate_cache()
        listed = found.find(path, detail=True)
    if not listed:
        check_bucket(url)
    return {str(name).rpartition("/")[2]: int(about["size"]) for name, about in listed.items()}


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

    An object in a store appears only when its upload is complete, as a file does when it is renamed. Until then its
    bytes are in the folder for temporary files ($TMPDIR), from where those of killed processes are removed.

    Raises:
        OSError: it cannot be written.
    """
    if not is_remote(target):
        with replacing(target, ALL) as partial:
            yield partial
        return
    found, path = filesystem(target)
    staging = Path(tempfile.gettempdir())
    temporaries.sweep(staging, again=False)
    with temporaries.folder_in(staging) as folder:
        partial = folder / path.rpartition("/")[2]
        yield partial
        with answering(target):
            found.put_file(str(partial), path)
