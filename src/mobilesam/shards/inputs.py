"""The photos of a run: folders, tars, COCO files, lists of paths, and Parquet files of photos or paths.

They are listed one at a time, so that memory does not grow with their number; only COCO files are parsed as a whole.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mobilesam.data.checksums import Listings
from mobilesam.data.coco import read_coco
from mobilesam.data.files import FileRef, file_state
from mobilesam.data.layouts import expand, name_datasets, named
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem
from mobilesam.data.tar import read_tar
from mobilesam.errors import DataError
from mobilesam.image import is_photo_name
from mobilesam.outputs import is_picture_of_ours
from mobilesam.remote import find, is_lost, is_object, is_remote
from mobilesam.shards.cells import CellRef, read_parquet
from mobilesam.shards.tasks import Ask, Task
from mobilesam.text import decode_text

REMOTE: dict[str, Callable[[str, str], Iterator[Item]]] = {".tar": read_tar, ".parquet": read_parquet}
"""Readers of files in object stores that hold photos."""


Reader = Callable[[Path, str, "Path | None"], Iterator[Item]]
"""Reads a local input: its path, the name of its data set, and the folder of the photos of COCO files."""


def find_tasks(
    found: Iterable[tuple[str, Iterator[Item]]],
    listings: Listings,
    asks: Callable[[PhotoRef, str], tuple[Ask, ...]] | None = None,
) -> Iterator[Task | Problem]:
    """Every photo of some inputs with its prompts, in a fixed order, and a problem for each that cannot be used.

    Args:
        found: `sources`.
        listings: gets the photos of each data set.
        asks: finds the prompts of a photo of an input; None to ask none.

    Raises:
        DataError: an input is missing or of no known kind.
        OSError: a store does not answer.
    """
    for source, items in found:
        for item in map(named, items):
            if isinstance(item, Problem):
                yield item
                continue
            try:
                state = file_state(item.file.path)
            except OSError as error:
                if is_lost(error):
                    raise
                listings.add(item, -1)
                yield Problem(item.id, f"the photo is not there ({error.strerror})")
                continue
            # Photos in a Parquet file are not read for their sizes.
            inner = 0 if isinstance(item.file, CellRef) else item.file.member and item.file.member[1]
            listings.add(item, state[0] if inner is None else inner)
            asked = () if asks is None else asks(item, source)
            yield Task(item.id, item.file, state, asked, item.image_id, item.truth)


def sources(
    inputs: Sequence[str], photos: Path | None, reader: Reader | None = None
) -> Iterator[tuple[str, Iterator[Item]]]:
    """Each input with its photos: those on disk first, then those in object stores.

    Args:
        inputs: folders (searched with their subfolders), .tar shards, COCO .json files, .txt lists of paths, .parquet
            files with a column of photos or of paths; shell patterns are expanded. Also addresses in object stores, of
            a .tar or .parquet file, or of a prefix with photos and such files under it.
        photos: folder of the photos of COCO files; by default found near each file.
        reader: of inputs on disk; `read_input` by default.
    """
    paths = expand([one for one in inputs if not is_remote(one)])
    for path, dataset in zip(paths, name_datasets(paths), strict=True):
        yield str(path), (reader or read_input)(path, dataset, photos)
    for url in dict.fromkeys(one.rstrip("/") for one in inputs if is_remote(one)):
        if url.endswith(tuple(REMOTE)) and is_object(url):
            yield url, _read_remote(url)
            continue
        for one in find(url):
            if one.endswith(tuple(REMOTE)):
                yield one, _read_remote(one)
        yield url, read_objects(url)


def _read_remote(url: str) -> Iterator[Item]:
    """The photos inside of an object."""
    suffix = f".{url.rpartition('.')[2]}"
    return REMOTE[suffix](url, url.partition("://")[2].removesuffix(suffix))


def read_objects(url: str) -> Iterator[Item]:
    """The photos under a prefix of an object store, sorted."""
    dataset = url.partition("://")[2]  # its whole place, which no other data set has
    for one in find(url):
        name = one[len(url) :].lstrip("/")
        if is_photo_name(name.rpartition("/")[2]):
            yield PhotoRef(PhotoId(dataset, name), FileRef(one), None)


def read_input(path: Path, dataset: str, photos: Path | None) -> Iterator[Item]:
    """The photos of an input on disk.

    Raises:
        DataError: it is of no known kind.
    """
    if path.is_dir():
        return read_photos(path, dataset)
    readers: dict[str, Callable[[], Iterator[Item]]] = {
        ".tar": lambda: read_tar(path, dataset),
        ".json": lambda: read_coco(path, dataset, photos),
        ".txt": lambda: from_paths(_lines(path), path, dataset),
        ".parquet": lambda: read_parquet(path, dataset),
    }
    if path.suffix not in readers:
        known = ", ".join(readers)
        raise DataError(f"'{path}' holds no photos that are known; give a folder of photos, or a file of {known}")
    return readers[path.suffix]()


def read_photos(folder: Path, dataset: str) -> Iterator[Item]:
    """The photos of a folder and its subfolders, sorted; hidden files, and pictures that this package wrote, are left
    out.
    """
    for name, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            path = Path(name) / file
            if is_photo_name(file) and not is_picture_of_ours(path):
                yield PhotoRef(PhotoId(dataset, path.relative_to(folder).as_posix()), FileRef(str(path)), None)


def from_paths(paths: Iterator[str], source: Path, dataset: str) -> Iterator[Item]:
    """Photos by their paths, which are relative to the file that lists them unless absolute."""
    for text in paths:
        for found in sorted(glob.glob(text)) if glob.has_magic(text) and not Path(text).exists() else [text]:
            yield PhotoRef(PhotoId(dataset, Path(found).as_posix()), FileRef(str(source.parent / found)), None)


def _lines(path: Path) -> Iterator[str]:
    try:
        text = decode_text(path.read_bytes())
    except DataError as error:
        raise DataError(f"the list '{path}' cannot be read: {error}") from error
    yield from (line.strip() for line in text.splitlines() if line.strip())
