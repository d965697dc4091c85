"""Reader of a folder that `mobilesam segment` or `everything` wrote, with the photos beside the results or elsewhere.

NAME_labelme.json    LabelMe, perhaps corrected since: counts before the record
NAME.json            the record of `everything`, or the LabelMe file of `segment`
NAME_labels.png      an object for each value
NAME_mask.png        one object

The photo of a name lies beside them, or where the JSON file says: LabelMe's imagePath, or the path in the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilesam.data.files import FileRef
from mobilesam.data.pairs import is_record_name, list_files, stem_of
from mobilesam.data.photo import MALFORMED, Item, PhotoId, PhotoRef, Problem, Truth
from mobilesam.data.truths import PixelTruth, RecordTruth
from mobilesam.image import is_photo_name
from mobilesam.interchange.joint import JOINT_FILES
from mobilesam.outputs import is_picture_of_ours
from mobilesam.text import parse_json

LABELME, RECORD, LABELS, MASK = "_labelme.json", ".json", "_labels.png", "_mask.png"
ENDINGS = (LABELME, RECORD, LABELS, MASK)
"""What a result's name ends with; the first that is there is the annotation of its photo."""
OF_ALL = frozenset({"instances.json", *JOINT_FILES.values()})
"""Files of all photos, which are data sets by themselves."""
NO_PHOTO = "a result whose photo is neither beside it nor where it says"
NO_RESULT = "no annotation beside the photo"
LARGEST_RECORD = 1 << 28  # bytes of a JSON file that is searched for the path of its photo
TRIED = 8  # records that are looked at to recognise a folder


def holds_results(folder: Path, *, has_masks: bool = True) -> bool:
    """Whether a folder holds results that the plain layouts do not pair with photos.

    Args:
        folder: any.
        has_masks: a mask of one photo is enough.
    """
    names = list_files(folder)
    if any(name.lower().endswith((LABELME, LABELS, *((MASK,) if has_masks else ()))) for name in names):
        return True
    photos = {Path(name).stem for name in names if is_photo_name(name)}
    records = [name for name in names if is_record_name(name) and name not in OF_ALL]
    if any(stem_of(name) in photos for name in records):
        return False
    return any(_named_photo(folder / name) for name in records[:TRIED])


def read_results(folder: Path, dataset: str) -> Iterator[Item]:
    """Every photo with the result that counts; a result without a photo, and a photo without one, are problems."""
    names = list_files(folder)
    results: dict[str, list[str]] = {}
    for ending in ENDINGS:
        for name in names:
            stem, lower = name[: -len(ending)], name.lower()
            is_longer = ending == RECORD and lower.endswith(LABELME)
            if lower.endswith(ending) and stem and name not in OF_ALL and not is_longer:
                results.setdefault(stem, []).append(name)
    taken = {name for found in results.values() for name in found}
    beside = {Path(name).stem: name for name in reversed(names) if name not in taken and _is_photo(folder / name)}
    for stem in sorted(results | beside):
        id = PhotoId(dataset, stem)
        if stem not in results:
            yield Problem(id, NO_RESULT)
            continue
        files = [folder / name for name in results[stem]]
        photo = folder / beside[stem] if stem in beside else _first_photo(files)
        if photo is None:
            yield Problem(id, NO_PHOTO)
        else:
            yield PhotoRef(id, FileRef(str(photo)), _truth(files[0], dataset))


def _truth(file: Path, dataset: str) -> Truth:
    if is_record_name(file.name):
        return RecordTruth(FileRef(str(file)))
    return PixelTruth(dataset, FileRef(str(file)), "instances" if file.name.lower().endswith(LABELS) else "object")


def _is_photo(path: Path) -> bool:
    """Whether a file is a photo rather than a picture that we wrote, such as an overlay."""
    return is_photo_name(path.name) and not is_picture_of_ours(path)


def _first_photo(files: list[Path]) -> Path | None:
    named = (_named_photo(file) for file in files if is_record_name(file.name))
    return next((photo for photo in named if photo is not None), None)


def _named_photo(record: Path) -> Path | None:
    """The photo that a JSON file names, relative to its folder; None where there is none."""
    try:
        if record.stat().st_size > LARGEST_RECORD:
            return None
        data: Any = parse_json(record.read_bytes())
        photo, image = data.get("photo"), data.get("image")
        paths = [data.get("imagePath")]
        # The path in "photo" is relative to the results; that in "image" is as it was typed, wherever that was.
        paths += [one.get(key) for one, key in ((photo, "path"), (image, "file_name")) if isinstance(one, dict)]
        found = [record.parent / path.replace("\\", "/") for path in paths if isinstance(path, str) and path]
        return next((path for path in found if is_photo_name(path.name) and path.is_file()), None)
    except (*MALFORMED, OSError):
        return None
