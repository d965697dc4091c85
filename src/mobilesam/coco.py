"""COCO instance annotations: photos in a folder, objects in one json."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from mobilesam.errors import DataError

Record = dict[str, Any]


@dataclass(frozen=True)
class CocoSource:
    """One photo of a COCO file, as `shards.PhotoSource`."""

    name: str
    path: str
    hw: tuple[int, int]
    annotations: tuple[Record, ...]
    source: str = "coco"
    """Name of the annotation file without its suffix, for `data.source_weights`."""

    @property
    def where(self) -> str:
        """The photo's file."""
        return self.path

    @property
    def num_bytes(self) -> int:
        """Of the photo's file."""
        return Path(self.path).stat().st_size

    def read_bytes(self) -> bytes:
        """The photo."""
        return Path(self.path).read_bytes()

    def read_end(self, count: int) -> bytes:
        """The end of the photo's file."""
        with open(self.path, "rb") as file:
            file.seek(max(0, self.num_bytes - count))
            return file.read()

    def read_record(self) -> Record:
        """Its objects in the SA-1B schema; crowds are no objects."""
        objects = [a for a in self.annotations if not a.get("iscrowd")]
        masks = [to_rle(a["segmentation"], self.hw) for a in objects]
        areas = [int(coco_mask.area(mask)) for mask in masks]
        return {
            "source": self.source,
            "annotations": [{"segmentation": m, "area": area} for m, area in zip(masks, areas, strict=True) if area],
        }


def read_sources(path: str, photos: str = "") -> Iterator[CocoSource]:
    """Every photo of a COCO file.

    Args:
        path: the json.
        photos: folder of the photos; looked for beside the json when empty.

    Raises:
        DataError: the file is no COCO file, or a photo is not there.
    """
    records, by_image = read_annotations(Path(path))
    for record in records:
        name = photo_name(record)
        found = find_photo(name, Path(path).parent, Path(photos) if photos else None)
        if found is None:
            raise DataError(f"{path}: photo '{name}' is not there; give its folder as data.photos")
        hw = (int(record["height"]), int(record["width"]))
        yield CocoSource(name, str(found), hw, tuple(by_image[record["id"]]), Path(path).stem)


def read_annotations(path: Path) -> tuple[list[Record], dict[int, list[Record]]]:
    """A COCO or LVIS file: its image records, and the annotations of each image id.

    Raises:
        DataError: the file is no COCO file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        records, annotations = data["images"], data["annotations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' is not a COCO annotation file ({type(error).__name__}: {error})") from error
    by_image: dict[int, list[Record]] = defaultdict(list)
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)
    return records, by_image


def photo_name(record: Record) -> str:
    """File name of a photo. LVIS has no file_name; the end of its coco_url is the split's folder and the name."""
    return str(record.get("file_name") or "/".join(str(record.get("coco_url", "")).split("/")[-2:]))


def find_photo(name: str, beside: Path, folder: Path | None) -> Path | None:
    """The photo of that name, in its folder or near the annotation file."""
    candidates = [folder] if folder else [beside, beside / "images", beside.parent, beside.parent / "images"]
    return next((p for c in candidates for p in (c / name, c / Path(name).name) if p.is_file()), None)


def to_rle(segmentation: Any, hw: tuple[int, int]) -> Record:
    """COCO's three forms of a segmentation (polygons, run lengths, compressed run lengths) as the last of them."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return segmentation
    encoded = coco_mask.frPyObjects(segmentation, *hw)
    if isinstance(segmentation, list):
        encoded = coco_mask.merge(encoded)
    return {"size": list(hw), "counts": encoded["counts"].decode("ascii")}
