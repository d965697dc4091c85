"""Inputs in object stores: prefixes of photos, and files that hold or name them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mobilesam.data.coco import read_coco
from mobilesam.data.files import FileRef
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem
from mobilesam.data.tar import read_tar
from mobilesam.errors import DataError, first_line
from mobilesam.image import is_photo_name
from mobilesam.remote import StoreError, find, is_lost, is_object, matching
from mobilesam.shards.cells import NoPhotosError, read_parquet
from mobilesam.shards.lists import read_list

log = logging.getLogger(__name__)
PACKED = (".tar", ".parquet")
"""Suffixes of files with photos inside, which are read where they lie in a folder or under a prefix."""
SUFFIXES = (*PACKED, ".json", ".txt")
"""Suffixes of all files that are inputs. Those that only name photos are read where they are named as inputs: photos
often have files of these kinds beside them."""
KINDS = ", ".join(SUFFIXES)


def remote_sources(inputs: Sequence[str], photos: Path | str | None) -> Iterator[tuple[str, Iterator[Item]]]:
    """Each input in an object store with its photos.

    Args:
        inputs: addresses of files or of prefixes; shell patterns are expanded.
        photos: folder of the photos of COCO files, or its address; by default found near each file.

    Raises:
        DataError: a pattern matches nothing.
        OSError: a store does not answer.
    """
    urls: dict[str, None] = {}
    for pattern in inputs:
        found = matching(pattern)
        if not found:
            raise DataError(f"nothing in the store matches '{pattern}'")
        urls |= dict.fromkeys(url.rstrip("/") for url in found)
    for url in urls:
        dataset = dataset_of(url)
        if is_object(url):
            yield url, or_problem(read_object(url, photos), PhotoId(dataset, url.rpartition("/")[2]))
            continue
        packed = [one for one in find(url) if one.lower().endswith(PACKED) and one not in urls]
        for one in packed:
            yield one, read_packed(one, photos)
        items = read_prefix(url, dataset)
        yield url, items if packed else or_problem(items, PhotoId(dataset, url.rpartition("/")[2]))


def dataset_of(url: str) -> str:
    """The name of a data set in a store: its whole place, which no other data set has."""
    return url.partition("://")[2].removesuffix("." + url.rpartition(".")[2] if url.lower().endswith(SUFFIXES) else "")


def read_object(url: str, photos: Path | str | None) -> Iterator[Item]:
    """The photos that are inside of an object, or that it names.

    Raises:
        DataError: it is damaged, or holds no photos.
        OSError: the store does not answer.
    """
    dataset = dataset_of(url)
    readers: dict[str, Callable[[], Iterator[Item]]] = {
        ".tar": lambda: read_tar(url, dataset),
        ".json": lambda: read_coco(url, dataset, photos),
        ".txt": lambda: read_list(url, dataset),
        ".parquet": lambda: read_parquet(url, dataset),
    }
    suffix = f".{url.rpartition('.')[2]}".lower()
    if suffix not in readers:
        raise DataError(f"'{url}' holds no photos that are known; give a prefix of photos, or a file of {KINDS}")
    try:
        yield from readers[suffix]()
    except DataError as error:
        if is_lost(error):  # which is no fault of the file
            raise StoreError(f"'{url}' cannot be read ({first_line(error)})") from error
        raise


def read_prefix(url: str, dataset: str) -> Iterator[Item]:
    """The photos under a prefix of an object store, sorted."""
    for one in find(url):
        name = one[len(url) :].lstrip("/")
        if is_photo_name(name.rpartition("/")[2]):
            yield PhotoRef(PhotoId(dataset, name), FileRef(one), None)


def read_packed(url: str, photos: Path | str | None) -> Iterator[Item]:
    """The photos of a tar or Parquet file under a prefix."""
    dataset = dataset_of(url)
    if url.lower().endswith(".parquet"):
        return with_photos(url, dataset)
    return or_problem(read_object(url, photos), PhotoId(dataset, url.rpartition("/")[2]))


def with_photos(path: Path | str, dataset: str) -> Iterator[Item]:
    """The photos inside a Parquet file that was found in a folder; one with other things is left out, and named."""
    try:
        yield from read_parquet(path, dataset, encoded=True)
    except NoPhotosError as error:
        log.warning("left out: %s", error)


def or_problem(items: Iterator[Item], input: PhotoId) -> Iterator[Item]:
    """What an input holds; a problem where that is nothing."""
    first = next(items, None)
    yield Problem(input, "this input holds no photo") if first is None else first
    yield from items
