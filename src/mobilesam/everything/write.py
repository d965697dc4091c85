"""All masks of a photo → files in the forms that other tools read.

NAME.json           SA-1B's record of the photo; written last, so that it means the photo is finished
NAME_labels.png     16-bit: 0 background, i the i-th mask; smaller masks lie on larger ones
NAME_overlay.jpg    the photo with its masks in colours
NAME_masks/000.png  255 on the object, one file a mask
NAME.txt            YOLO-seg: class 0 and a polygon in 0-1, parts and holes joined by bridges of no width
instances.json      COCO, of the whole folder
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam import outlines
from mobilesam.draw import COLOURS
from mobilesam.everything.candidates import FoundMask
from mobilesam.everything.settings import EverythingSettings
from mobilesam.files import replacing
from mobilesam.image import Rgb
from mobilesam.predict.backend import ModelInfo, Precision

FORMS = ("labels", "overlay", "masks", "yolo", "coco")
COCO_FILE = "instances.json"


def fingerprint(
    info: ModelInfo, settings: EverythingSettings, forms: Sequence[str], precision: Precision = "float32"
) -> str:
    """Identity of what is asked for: a photo finished otherwise is done again."""
    text = json.dumps([info.weights_sha256, asdict(settings.for_model(info)), sorted(forms), precision])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_finished(folder: Path, name: str, identity: str) -> bool:
    """Whether the photo's record is there and was made by the same model, settings and forms."""
    try:
        return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["made_by"] == identity
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write(
    folder: Path, name: str, photo: str, rgb: Rgb, found: Sequence[FoundMask], forms: Sequence[str], identity: str
) -> list[Path]:
    """Write one photo's masks; the record comes last. Returns the files."""
    files = []
    if "labels" in forms:
        files.append(save_picture(label_image(found, rgb.shape[:2]), folder / f"{name}_labels.png"))
    if "overlay" in forms:
        files.append(save_picture(overlay(rgb, found), folder / f"{name}_overlay.jpg"))
    if "masks" in forms:
        files.append(write_masks(folder / f"{name}_masks", found))
    if "yolo" in forms:
        with replacing(folder / f"{name}.txt") as partial:
            partial.write_text("".join(yolo_line(mask) for mask in found), encoding="utf-8")
        files.append(folder / f"{name}.txt")
    height, width = rgb.shape[:2]
    record = {
        "image": {"file_name": photo, "width": width, "height": height},
        "annotations": [{"id": i, **mask.to_dict()} for i, mask in enumerate(found, 1)],
        "made_by": identity,
    }
    with replacing(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return [*files, folder / f"{name}.json"]


def save_picture(array: NDArray[np.generic], path: Path) -> Path:
    """Write a picture through a temporary name."""
    with replacing(path) as partial:
        options: dict[str, Any] = {"quality": 90} if path.suffix == ".jpg" else {}
        Image.fromarray(array).save(partial, **options)
    return path


def write_masks(folder: Path, found: Sequence[FoundMask]) -> Path:
    """One picture a mask, in a folder that appears whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        inside = Path(scratch) / folder.name
        inside.mkdir()
        for i, mask in enumerate(found, 1):
            Image.fromarray(mask.array.astype(np.uint8) * 255).save(inside / f"{i:04}.png")
        shutil.rmtree(folder, ignore_errors=True)
        inside.rename(folder)
    return folder


def label_image(found: Sequence[FoundMask], hw: tuple[int, ...]) -> NDArray[np.uint16]:
    """(H, W): 0 background, i where the i-th mask lies on top; smaller ones lie above larger ones."""
    labels = np.zeros(hw, np.uint16)
    for i in sorted(range(len(found)), key=lambda i: -found[i].area):
        labels[found[i].array] = i + 1
    return labels


def overlay(rgb: Rgb, found: Sequence[FoundMask], opacity: float = 0.5) -> Rgb:
    """The photo with every mask tinted and outlined, smaller ones on top: (H, W, 3)."""
    labels = label_image(found, rgb.shape[:2])
    palette = np.array([(0, 0, 0), *(COLOURS[i % len(COLOURS)] for i in range(len(found)))], np.float32)
    is_object = (labels > 0)[..., None]
    tinted = np.where(is_object, rgb * (1 - opacity) + palette[labels] * opacity, rgb).astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, kernel) > 0
    tinted[edge] = 255
    return tinted


def yolo_line(mask: FoundMask) -> str:
    """Class 0 and the mask's outline, its parts and holes joined into one polygon; empty for an empty mask."""
    outline = outlines.join(outlines.trace(mask.array))
    if not len(outline):
        return ""
    height, width = mask.array.shape
    unit = outline / (width, height)
    return "0 " + " ".join(f"{value:.6f}" for value in unit.ravel()) + "\n"


def write_coco(folder: Path, names: Sequence[str]) -> Path:
    """All finished photos as one COCO file."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, name in enumerate(names, 1):
        record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        images.append({"id": image_id, **record["image"]})
        for annotation in record["annotations"]:
            extra = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0}
            annotations.append({**annotation, **extra, "score": annotation["predicted_iou"]})
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    with replacing(folder / COCO_FILE) as partial:
        partial.write_text(json.dumps(data) + "\n", encoding="utf-8")
    return folder / COCO_FILE
