"""Readers of all supported data set layouts, which all produce the same references to photos.

read("eval.tar")                  SA-1B shard
read("sa_000000/")                SA-1B, extracted: NAME.jpg beside NAME.json
read("labelme/")                  LabelMe: likewise
read("everything/")               what `mobilesam everything` or `segment` wrote, see results.py
read("instances_val.json")        COCO or LVIS; photos beside it, or in `photos`
read("GrabCut/")                  data_GT + boundary_GT: 255 is the object, 128 ignored, any other value background
read("Berkeley/")                 images + masks: anything but 0 is the object; what is opaque; a JPEG's bright part
read("DAVIS345/")                 img + gt: as Berkeley
read("VOC2012/")                  JPEGImages + SegmentationObject: each palette index an object, 255 ignored
read("DAVIS/")                    JPEGImages + Annotations: likewise; or 0 and 255 alone, one object
read("cityscapes/")               leftImg8bit + gtFine: each instance id an object
read("yolo/")                     images + labels: YOLO-seg polygons

Nothing is unpacked to disk, and nothing but COCO annotations is held in memory.
"""

from __future__ import annotations

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mobilesam.data.coco import read_coco
from mobilesam.data.files import FileRef
from mobilesam.data.pairs import (
    NO_PHOTO,
    SECOND,
    SEVERAL,
    FolderFiles,
    check_layout,
    first_photos,
    has_records,
    index_folder,
    is_record_name,
    pair_records,
    stem_of,
)
from mobilesam.data.photo import Item, PhotoId, PhotoRef, Problem, Truth
from mobilesam.data.results import holds_results, read_results
from mobilesam.data.tar import read_tar
from mobilesam.data.truths import PixelTruth, Rule, YoloTruth
from mobilesam.errors import DataError, SettingsError
from mobilesam.folders import files_below
from mobilesam.image import MAX_PIXELS, Frame, is_photo_name
from mobilesam.remote import copy_first, is_remote, on_disk
from mobilesam.text import encodable

TWICE = "another photo has the same name"
MAX_NAME = 4096
"""Most bytes of a photo's path in its data set, as in file systems; a tar or a COCO file may hold any."""


def read_all(
    patterns: Sequence[str],
    *,
    photos: Path | None = None,
    unclear_frame: Frame = "upright",
    max_pixels: int = MAX_PIXELS,
    value_range: tuple[float, float] | None = None,
) -> Iterator[Item]:
    """Read several data sets: every photo, and a `Problem` for everything that cannot be used.

    Args:
        patterns: shards, folders and annotation files; shell patterns are expanded.
        photos: folder of the photos of COCO and LVIS files; by default found near each file.
        unclear_frame, max_pixels, value_range: see `PhotoRef`.

    Raises:
        DataError: a data set is missing or of no known layout.
    """
    paths = expand(patterns)
    for path, dataset in zip(paths, name_datasets(paths), strict=True):
        for item in read(path, dataset=dataset, photos=photos, unclear_frame=unclear_frame):
            if isinstance(item, PhotoRef):
                item = replace(item, max_pixels=max_pixels, value_range=value_range)
            yield item


def read(
    path: Path, *, dataset: str = "", photos: Path | str | None = None, unclear_frame: Frame = "upright"
) -> Iterator[Item]:
    """Read one data set: every photo, and a `Problem` for everything that cannot be used.

    Args:
        path: a shard, a folder or an annotation file, as listed above.
        dataset: its name in the identity of its photos; the file's or folder's own where empty.
        photos: folder of the photos of a COCO or LVIS file, or its address; by default found near it.
        unclear_frame: see `PhotoRef.unclear_frame`.

    Raises:
        DataError: it is missing or of no known layout.
    """
    for item in once(_read(path, dataset or name_datasets([path])[0], photos)):
        yield replace(item, unclear_frame=unclear_frame) if isinstance(item, PhotoRef) else item


def once(items: Iterable[Item]) -> Iterator[Item]:
    """Yield each photo where it is named first, and a `Problem` for another file of its name; rename what files cannot
    hold."""
    files: dict[PhotoId, FileRef | None] = {}
    for item in map(named, items):
        file = item.file if isinstance(item, PhotoRef) else None
        if file is None or item.id not in files:
            yield item
        elif file != files[item.id]:
            yield Problem(item.id, TWICE)
        files.setdefault(item.id, file)


def named(item: Item) -> Item:
    """Replace what files and messages cannot hold in a photo's name; a name that is too long makes it a `Problem`."""
    id = PhotoId(encodable(item.id.dataset), encodable(item.id.path))
    if len(id.path.encode()) > MAX_NAME:
        return Problem(PhotoId(id.dataset, f"{id.path[:40]}..."), f"its name is longer than {MAX_NAME} bytes")
    return item if id == item.id else replace(item, id=id)


def _read(path: Path, dataset: str, photos: Path | str | None) -> Iterator[Item]:
    if path.suffix.lower() == ".tar":
        return read_tar(path, dataset)
    if is_record_name(path.name):
        return read_coco(path, dataset, photos)
    check_layout(path)
    return read_folder(path, dataset)


def expand(patterns: Sequence[str]) -> list[Path]:
    """Expand shell patterns to paths, in order, without repetitions.

    Raises:
        DataError: a pattern matches nothing, or is an address in an object store.
    """
    paths: dict[Path, Path] = {}  # resolved → as given
    for pattern in patterns:
        if is_remote(pattern):
            raise DataError(copy_first(pattern))
        found = sorted(glob.glob(os.path.expanduser(pattern)))
        if not found:
            raise DataError(f"no data set matches '{pattern}' (looked from {Path.cwd()})")
        for path in map(Path, found):
            paths.setdefault(path.resolve(), path)
    return list(paths.values())


def check_folder(patterns: Sequence[str], option: str) -> None:
    """Refuse a folder of photos if none of the data sets is a COCO or LVIS file, which alone use it.

    Args:
        patterns: paths, shell patterns, and addresses in object stores.
        option: what gave the folder, for the message.

    Raises:
        SettingsError: there is no COCO file among the data sets.
    """
    if not any(is_record_name(path.name) for path in expand(on_disk(patterns))):
        raise SettingsError(f"{option} does nothing here: only COCO and LVIS files (.json) use it; leave it out")


def name_datasets(paths: Sequence[Path]) -> list[str]:
    """Give each data set a unique name: its own, preceded by as many parent folders as that needs.

    The names depend on which data sets there are, not on their order.
    """
    whole = [path.resolve() for path in paths]
    depth = [0] * len(paths)
    while True:
        names = [_name_at(path, d) for path, d in zip(whole, depth, strict=True)]
        groups: dict[str, set[Path]] = defaultdict(set)
        for path, name in zip(whole, names, strict=True):
            groups[name].add(path)
        if all(len(group) == 1 for group in groups.values()):
            return names
        depth = [d + (len(groups[name]) > 1) for d, name in zip(depth, names, strict=True)]


def _name_at(path: Path, depth: int) -> str:
    if depth == 0:
        return path.name if path.is_dir() else path.stem
    return "/".join(path.parts[-depth:])


def read_folder(path: Path, dataset: str) -> Iterator[Item]:
    """Read a folder whose layout is recognised by the names of its files and subfolders.

    Raises:
        DataError: no layout fits.
    """
    for (photos, truth), reader in LAYOUTS.items():
        if (path / photos).is_dir() and (path / truth).is_dir():
            return reader(path / photos, path / truth, dataset)
    if holds_results(path):
        return read_results(path, dataset)
    if not has_records(path):
        names = ", ".join(" + ".join(pair) for pair in LAYOUTS)
        raise DataError(f"'{path}' has no known layout: expected NAME.jpg beside NAME.json, or folders {names}")
    return read_extracted(path, dataset)


def is_known(folder: Path) -> bool:
    """Whether a folder has one of the known layouts."""
    pairs = any((folder / photos).is_dir() and (folder / truth).is_dir() for photos, truth in LAYOUTS)
    return pairs or has_records(folder) or holds_results(folder, has_masks=False)


def read_extracted(path: Path, dataset: str) -> Iterator[Item]:
    """Read an unpacked SA-1B shard, or LabelMe's files: NAME.jpg beside NAME.json."""
    return pair_records(dataset, *index_folder(path))


def pair_up(
    photos: Path, dataset: str, labels: FolderFiles, to_truth: Callable[[FileRef], Truth], *, ending: str = ""
) -> Iterator[Item]:
    """Pair each photo of a folder with the annotation file of the same name; no file is given to two photos.

    Args:
        photos: the folder.
        dataset: the data set's name.
        labels: the files of the annotations.
        to_truth: makes the reader of such a file.
        ending: what the stems of photos end with beyond those of their annotations.

    Yields:
        The photos, then a problem for each annotation without a photo.
    """
    for photo, is_used in first_photos(files_below(photos, is_photo_name)):
        id = PhotoId(dataset, photo.relative_to(photos).as_posix())
        if not is_used:
            yield Problem(id, SECOND)
            continue
        files = labels.take(stem_of(id.path).removesuffix(ending))
        if len(files) == 1:
            yield PhotoRef(id, FileRef(str(photo)), to_truth(FileRef(str(files[0]))))
        else:
            yield Problem(id, SEVERAL if files else f"no annotation of its name in {labels.folder}")
    yield from (Problem(PhotoId(dataset, name), NO_PHOTO) for name in labels.left())


def read_pixels(photos: Path, truth: Path, dataset: str, *, rule: Rule, ignore: int | None = None) -> Iterator[Item]:
    """Read a layout of photos in one folder and label pictures of the same relative names in another."""
    source, labels = photos.parent.name.lower(), FolderFiles(truth, is_photo_name)
    return pair_up(photos, dataset, labels, lambda file: PixelTruth(source, file, rule, ignore))


def read_voc(photos: Path, truth: Path, dataset: str) -> Iterator[Item]:
    """Read Pascal VOC: the photos that have a label picture; the others were not segmented."""
    source, listed = photos.parent.name.lower(), FolderFiles(photos, is_photo_name)
    pictures = files_below(truth, is_photo_name)
    repeated = Counter(picture.with_suffix("") for picture in pictures)
    for picture in pictures:
        name = picture.relative_to(truth)
        found = listed.find(stem_of(name.as_posix()))
        if not found or repeated[picture.with_suffix("")] > 1:
            yield Problem(PhotoId(dataset, name.as_posix()), SEVERAL if found else f"no photo in {photos}")
            continue
        id, *others = (PhotoId(dataset, photo.relative_to(photos).as_posix()) for photo in found)
        yield PhotoRef(id, FileRef(str(found[0])), PixelTruth(source, FileRef(str(picture)), "instances"))
        yield from (Problem(other, SECOND) for other in others)


def read_cityscapes(photos: Path, truth: Path, dataset: str) -> Iterator[Item]:
    """Read Cityscapes: SPLIT/CITY/NAME_leftImg8bit.png and NAME_gtFine_instanceIds.png."""
    source, labels = photos.parent.name.lower(), FolderFiles(truth, is_photo_name, "_gtFine_instanceIds")
    return pair_up(photos, dataset, labels, lambda file: PixelTruth(source, file, "cityscapes"), ending="_leftImg8bit")


def is_label_name(name: str) -> bool:
    """Whether a file is the label of a photo: any .txt but classes.txt, the list of classes that LabelImg writes."""
    return name.lower().endswith(".txt") and name.lower() != "classes.txt"


def read_yolo(photos: Path, labels: Path, dataset: str) -> Iterator[Item]:
    """Read YOLO-seg: a text file per photo."""
    source, texts = photos.parent.name.lower(), FolderFiles(labels, is_label_name)
    return pair_up(photos, dataset, texts, lambda file: YoloTruth(source, file))


Reader = Callable[[Path, Path, str], Iterator[Item]]


def _pixels(rule: Rule, ignore: int | None = None) -> Reader:
    def reader(photos: Path, truth: Path, dataset: str) -> Iterator[Item]:
        return read_pixels(photos, truth, dataset, rule=rule, ignore=ignore)

    return reader


# The first pair of folders that is there counts: Pascal VOC has a folder Annotations too, of boxes.
LAYOUTS: dict[tuple[str, str], Reader] = {
    ("data_GT", "boundary_GT"): _pixels("object", ignore=128),
    ("JPEGImages", "SegmentationObject"): read_voc,
    ("JPEGImages", "Annotations"): _pixels("frames"),
    ("leftImg8bit", "gtFine"): read_cityscapes,
    ("img", "gt"): _pixels("object"),
    ("images", "masks"): _pixels("object"),
    ("images", "labels"): read_yolo,
}
