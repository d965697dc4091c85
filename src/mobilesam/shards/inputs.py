"""The photos of a run: folders, tars, COCO files, lists of paths, and Parquet files of photos or paths.

They are listed one at a time, so that memory does not grow with their number; only COCO files are parsed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mobilesam.data.checksums import Listings
from mobilesam.data.coco import read_coco
from mobilesam.data.files import FileRef, file_state
from mobilesam.data.layouts import expand, name_datasets, named
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem
from mobilesam.data.tar import read_tar
from mobilesam.errors import DataError, first_line
from mobilesam.folders import walk
from mobilesam.image import is_photo_name
from mobilesam.outputs import is_picture_of_ours
from mobilesam.remote import StoreError, is_lost, is_remote, on_disk
from mobilesam.shards.cells import CellRef, read_parquet
from mobilesam.shards.job import JOB_FILE, MANIFEST_FILE
from mobilesam.shards.lists import read_list
from mobilesam.shards.lost import check_store, is_bare, root_of
from mobilesam.shards.repeats import Found, merged
from mobilesam.shards.stores import KINDS, PACKED, or_problem, remote_sources, with_photos
from mobilesam.shards.tasks import Ask, Task

Reader = Callable[[Path, str, "Path | str | None"], Iterator[Item]]
"""Reads a local input: its path, the name of its data set, and the folder of the photos of COCO files."""

Asks = Callable[[PhotoRef, str], "tuple[Ask, ...]"]
"""Finds the prompts of a photo of an input."""
NAMING = (".txt", ".json", ".parquet")
"""Suffixes of inputs that may name a photo several times."""


def check_inputs(inputs: Sequence[str], output: Path) -> None:
    """Check that the inputs on disk are there, before a model is downloaded or loaded; not where the plan is made.

    Args:
        inputs: as of `sources`.
        output: the folder of the run.

    Raises:
        DataError: one is missing.
    """
    if not (Path(output) / JOB_FILE).exists():
        expand(on_disk(inputs))


def find_tasks(
    found: Iterable[tuple[str, Iterator[Item]]],
    listings: Listings,
    asks: Asks | None = None,
) -> Iterator[Task | Problem]:
    """Every photo of some inputs with its prompts, in a fixed order, and a problem for each that cannot be used.

    A photo that an input names several times is there once, with the prompts of all its mentions.

    Args:
        found: `sources`.
        listings: gets the photos of each data set.
        asks: finds the prompts of a photo of an input; None to ask none.

    Raises:
        DataError: an input is missing or of no known kind.
        OSError: a store does not answer, or a folder is gone.
    """
    last: list[str] = []  # the photo that was looked up before
    for source, items in found:
        looked = look_up(items, source, asks, last)
        for item, size in merged(looked) if source.lower().endswith(NAMING) else looked:
            if size is not None:
                id, file = (item.photo, item.file) if isinstance(item, Task) else (item.id, FileRef(""))
                listings.add(PhotoRef(id, file, None), size)
            yield item


def look_up(items: Iterable[Item], source: str, asks: Asks | None, last: list[str]) -> Iterator[Found]:
    """The photos of one input with their prompts and sizes; arguments and errors are those of `find_tasks`.

    Args:
        items: the photos.
        source: the input.
        asks: finds their prompts.
        last: holds the path of the photo that was looked up before.
    """
    for item in map(named, items):
        if isinstance(item, Problem):
            yield item, None
            continue
        try:
            state = file_state(item.file.path)
        except OSError as error:
            check_plan(error, item, last)
            yield Problem(item.id, f"the photo is not there ({error.strerror or first_line(error)})"), -1
            continue
        last[:] = [item.file.path]
        whole = item.file.member is None and not isinstance(item.file, CellRef)
        asked = () if asks is None else asks(item, source)
        task = Task(item.id, item.file, state, asked, item.image_id, item.truth, item.other_ids)
        yield task, state[0] if whole else item.file.listed_bytes


def check_plan(error: OSError, photo: PhotoRef, last: Sequence[str]) -> None:
    """Raise an error of a photo that tells of a lost store; a list may name folders that were never there."""
    if is_lost(error):
        check_store(error, photo.id, photo.file.path, last)
    root = None if is_remote(photo.file.path) else root_of(photo.id, photo.file.path)
    if root is not None and is_bare(root):
        raise StoreError(f"the folder '{root}' is gone or empty") from error


def sources(
    inputs: Sequence[str], photos: Path | str | None, reader: Reader | None = None
) -> Iterator[tuple[str, Iterator[Item]]]:
    """Each input with its photos: those on disk first, then those in object stores.

    Args:
        inputs: folders (searched with their subfolders), .tar shards, COCO .json files, .txt lists of paths, .parquet
            files with a column of photos or of paths; shell patterns are expanded. Also addresses of the same in
            object stores. Of a folder or a prefix, the tars and the Parquet files with photos are read too.
        photos: folder of the photos of COCO files, or its address; by default found near each file.
        reader: of inputs on disk; `read_input` by default.

    Raises:
        DataError: an input is missing.
    """
    paths, read = expand(on_disk(inputs)), reader or read_input
    named_too = {path.resolve() for path in paths}
    for path, dataset in zip(paths, name_datasets(paths), strict=True):
        packed = [one for one in packed_in(path) if one.resolve() not in named_too] if path.is_dir() else []
        for inner in packed:
            name = f"{dataset}/{inner.relative_to(path).with_suffix('').as_posix()}"
            if inner.suffix.lower() == ".parquet":
                yield str(inner), with_photos(inner, name)
            else:
                yield str(inner), or_problem(read(inner, name, photos), PhotoId(name, inner.name))
        items = read(path, dataset, photos)
        yield str(path), items if packed else or_problem(items, PhotoId(dataset, path.name))
    yield from remote_sources([one for one in inputs if is_remote(one)], photos)


def read_input(path: Path, dataset: str, photos: Path | str | None) -> Iterator[Item]:
    """The photos of an input on disk.

    Raises:
        DataError: it is of no known kind.
    """
    if path.is_dir():
        return read_photos(path, dataset)
    readers: dict[str, Callable[[], Iterator[Item]]] = {
        ".tar": lambda: read_tar(path, dataset),
        ".json": lambda: read_coco(path, dataset, photos),
        ".txt": lambda: read_list(path, dataset),
        ".parquet": lambda: read_parquet(path, dataset),
    }
    if path.suffix.lower() not in readers:
        raise DataError(f"'{path}' holds no photos that are known; give a folder of photos, or a file of {KINDS}")
    return readers[path.suffix.lower()]()


def read_photos(folder: Path, dataset: str) -> Iterator[Item]:
    """The photos of a folder and its subfolders, sorted; hidden files, and pictures that this package wrote, are left
    out.

    Raises:
        OSError: the folder is gone.
    """
    errors: list[OSError] = []
    for path in files_in(folder, is_photo_name, errors.append):
        if not is_picture_of_ours(path):
            yield PhotoRef(PhotoId(dataset, path.relative_to(folder).as_posix()), FileRef(str(path)), None)
    for error in errors:
        if is_lost(error) or is_bare(folder):
            raise StoreError(f"the folder '{folder}' is gone or empty ({first_line(error)})") from error
        name = Path(error.filename).relative_to(folder).as_posix()
        yield Problem(PhotoId(dataset, name), f"the folder cannot be listed ({error.strerror})")


def packed_in(folder: Path) -> Iterator[Path]:
    """The tars and Parquet files of a folder and its subfolders, sorted; those of runs are left out."""
    return files_in(folder, lambda name: name.lower().endswith(PACKED))


def files_in(
    folder: Path, wanted: Callable[[str], bool], tell: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """Files of a folder and its subfolders, sorted, without hidden ones and the results of runs; see `folders.walk`.

    Args:
        folder: the folder.
        wanted: says by the name of a file whether it is one of them.
        tell: gets the error of each folder that cannot be listed.
    """
    for name, folders, files in walk(folder, tell=tell):
        if JOB_FILE in files and MANIFEST_FILE in files and "shards" in folders:
            folders.remove("shards")
        yield from (Path(name) / file for file in filter(wanted, files))
