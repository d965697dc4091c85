"""Writing of a photo's masks to files that other tools read.

NAME.json             SA-1B record of the photo; written last, so it marks the photo as finished
NAME_labels.png       16-bit: 0 background, i the i-th mask; smaller masks lie on top of larger ones
NAME_overlay.jpg      the photo with its masks in colours
NAME_masks/0001.png   255 on the object, one file per mask
NAME.txt              YOLO-seg: class 0 and a polygon in 0-1, parts and holes joined by bridges of no width
NAME_labelme.json     LabelMe: polygons
instances.json        COCO, for several photos
cvat.xml              CVAT, for several photos
label_studio.json     Label Studio: tasks with predictions, for several photos
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mobilesam.choices import Form
from mobilesam.draw import overlay_labels
from mobilesam.errors import DataError, first_line
from mobilesam.everything.results import FoundMask
from mobilesam.files import make_folder, save_json, save_picture, save_text
from mobilesam.image import Rgb
from mobilesam.interchange import outlines
from mobilesam.interchange.coco import to_coco
from mobilesam.interchange.joint import JOINT_FILES, joint_text
from mobilesam.interchange.labelme import to_labelme
from mobilesam.interchange.photo_masks import PhotoMasks
from mobilesam.names import relative, short_paths
from mobilesam.outputs import DEFAULT, Outputs, identity, is_picture_of_ours
from mobilesam.rle import is_whole
from mobilesam.text import parse_json

FORMS = get_args(Form)
COCO_FILE = "instances.json"
JOINT = {"coco": COCO_FILE, **JOINT_FILES}
"""Form → the file that holds all photos."""
UNFINISHED = "unfinished"
"""`made_by` of a record while the photo's files are being replaced."""

ENDINGS = {
    "labels": "_labels.png",
    "overlay": "_overlay.jpg",
    "masks": "_masks",
    "yolo": ".txt",
    "labelme": "_labelme.json",
}
"""What each form adds to the name of a photo; those of `JOINT` are one file for all."""


def write(
    folder: Path,
    name: str,
    photo: str,
    rgb: Rgb,
    found: Sequence[FoundMask],
    forms: Sequence[str],
    made: dict[str, Any],
    outputs: Outputs = DEFAULT,
) -> list[Path]:
    """Write the masks of one photo in the requested forms, and its record NAME.json last.

    Args:
        folder: folder for the files.
        name: first part of their names.
        photo: path of the photo as written to the record.
        rgb: the photo, (H, W, 3).
        found: its masks.
        forms: some of `FORMS`.
        made: further entries of the record: identity of the photo, and hash of the settings.
        outputs: the rule for what may be replaced.

    Returns:
        The files.

    Raises:
        OutputError: an input or another's file would be replaced; nothing is written.
    """
    targets = {form: folder / (name + ending) for form, ending in ENDINGS.items() if form in forms}
    record_file = folder / f"{name}.json"
    for target in (*(path for form, path in targets.items() if form != "masks"), record_file):
        outputs.check(target)
    make_folder(record_file.parent)
    # A kill from here on must not leave new pictures beside a record that says they are finished by other settings.
    if record_file.exists():
        save_json({**made, "made_by": UNFINISHED}, record_file, outputs)
    if "labels" in targets or "overlay" in targets:
        labels = label_image(found, rgb.shape[:2])
    if "labels" in targets:
        save_picture(labels, targets["labels"], outputs=outputs)
    if "overlay" in targets:
        save_picture(overlay_labels(rgb, labels), targets["overlay"], outputs=outputs)
    if "masks" in targets:
        write_masks(targets["masks"], found, outputs)
    if "yolo" in targets:
        save_text("".join(yolo_line(mask) for mask in found), targets["yolo"], outputs)
    if "labelme" in targets:
        path = relative(photo, targets["labelme"].parent) if os.path.exists(photo) else photo
        save_json(to_labelme(found, path, original_hw=(rgb.shape[0], rgb.shape[1])), targets["labelme"], outputs)
    record = {
        "image": {"file_name": photo, "width": rgb.shape[1], "height": rgb.shape[0]},
        "annotations": [{"id": i, **mask.to_sa1b()} for i, mask in enumerate(found, 1)],
        **made,
    }
    return [*targets.values(), save_json(record, record_file, outputs)]


def write_masks(folder: Path, found: Sequence[FoundMask], outputs: Outputs = DEFAULT) -> Path:
    """Write one picture per mask into a folder; pictures of an earlier run beyond their number are removed.

    Nothing else in the folder is touched.

    Raises:
        OutputError: an input or another's file has the name of a mask.
    """
    make_folder(folder)
    targets = [folder / f"{i:04}.png" for i in range(1, len(found) + 1)]
    for target in targets:
        outputs.check(target)
    for mask, target in zip(found, targets, strict=True):
        save_picture(mask.array, target, outputs=outputs)
    for old in folder.iterdir():
        is_mask = old.suffix == ".png" and old.stem.isdecimal() and int(old.stem) > len(found)
        if is_mask and identity(old) not in outputs.inputs and is_picture_of_ours(old):
            old.unlink()
    return folder


def label_image(found: Sequence[FoundMask], hw: tuple[int, ...]) -> NDArray[np.uint16]:
    """Label image (H, W): 0 background, i for the i-th mask; smaller masks lie on top of larger ones."""
    labels = np.zeros(hw, np.uint16)
    for i in sorted(range(len(found)), key=lambda i: -found[i].area):
        labels[found[i].array] = i + 1
    return labels


def yolo_line(mask: FoundMask) -> str:
    """A mask as a YOLO-seg line: class 0 and one polygon of all its parts and holes; empty for an empty mask."""
    outline = outlines.join(outlines.trace(mask.array))
    if not len(outline):
        return ""
    height, width = mask.array.shape
    unit = outline / (width, height)
    return "0 " + " ".join(f"{value:.6f}" for value in unit.ravel()) + "\n"


def write_coco(folder: Path, names: Sequence[str], outputs: Outputs = DEFAULT) -> Path:
    """Write one COCO file for the finished photos of these names, from their records.

    Raises:
        DataError: a record was damaged after it was written.
        OutputError: another's instances.json is there.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = [{"id": 1, "name": "object"}]
    for image_id, name in enumerate(names, 1):
        photo, hw, masks = read_record(folder / f"{name}.json")
        made = to_coco(masks, photo, original_hw=hw, image_id=image_id, first_id=len(annotations) + 1)
        images += made["images"]
        annotations += made["annotations"]
    return save_json(
        {"images": images, "annotations": annotations, "categories": categories}, folder / COCO_FILE, outputs
    )


def write_joint(folder: Path, form: str, names: Sequence[str], outputs: Outputs = DEFAULT) -> Path:
    """Write the file of one form of `JOINT` for the finished photos of these names, from their records.

    Raises:
        DataError: a record was damaged after it was written.
        OutputError: another's file is there.
    """
    if form == "coco":
        return write_coco(folder, names, outputs)
    records = [read_record(folder / f"{name}.json") for name in names]
    short = short_paths([photo for photo, _, _ in records])
    photos = [PhotoMasks(name, masks, hw) for name, (_, hw, masks) in zip(short, records, strict=True)]
    return save_text(joint_text(form, photos), folder / JOINT[form], outputs)


def read_record(path: Path) -> tuple[str, tuple[int, int], list[FoundMask]]:
    """Read what `write` wrote about one photo.

    Returns:
        Path of the photo as the record gives it, its size (height, width), and its masks.

    Raises:
        DataError: the record is missing, cut off or changed; says to make it again.
    """
    try:
        record = parse_json(path.read_bytes())
        image, annotations = record["image"], record["annotations"]
        photo, height, width = image["file_name"], image["height"], image["width"]
        if not (isinstance(photo, str) and is_whole(height) and is_whole(width) and isinstance(annotations, list)):
            raise DataError("its image needs a file name, a height and a width, its annotations a list")
        hw = (int(height), int(width))
        masks = [FoundMask.from_sa1b(one, hw) for one in annotations]
    except (OSError, KeyError, TypeError, DataError) as error:
        raise DataError(
            f"'{path}' is damaged ({first_line(error)}); delete it, and run the same command again"
        ) from error
    return photo, hw, masks
