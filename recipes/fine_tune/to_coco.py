"""One source of SA-1B shards as a COCO data set, a part of its photos held out.

    python recipes/fine_tune/to_coco.py 'PATH/*.tar' SOURCE FOLDER [--held-out 0.3]

Writes FOLDER/train.json, FOLDER/held_out.json and FOLDER/images/.
Which photos are held out depends on their names alone.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

from mobilesam import boxes
from mobilesam.data.decoded import read_photo
from mobilesam.data.photo import PhotoRef
from mobilesam.data.survey import survey


def convert(photos: list[PhotoRef], images: Path) -> dict[str, Any]:
    """Photos into a folder, their annotations into a COCO record."""
    record: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    for image_id, reference in enumerate(photos, 1):
        photo = read_photo(reference)
        name = f"{reference.name}.jpg"
        (images / name).write_bytes(reference.file.read())
        height, width = photo.rgb.shape[:2]
        record["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
        for i, rle in enumerate(photo.run_lengths):
            mask = photo.mask(i)
            record["annotations"].append(
                {
                    "id": len(record["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "segmentation": rle,
                    "bbox": boxes.xyxy_to_xywh(boxes.from_mask(mask)),
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                }
            )
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards")
    parser.add_argument("source")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--held-out", type=float, default=0.3)
    arguments = parser.parse_args()

    images = arguments.folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    found = survey([arguments.shards])
    parts: dict[str, list[PhotoRef]] = {"train": [], "held_out": []}
    for photo, source in zip(found.photos, found.sources, strict=True):
        if source == arguments.source:
            draw = zlib.crc32(b"held out" + photo.name.encode()) / 2**32
            parts["held_out" if draw < arguments.held_out else "train"].append(photo)
    for name, chosen in parts.items():
        (arguments.folder / f"{name}.json").write_text(json.dumps(convert(chosen, images)))
        print(f"{arguments.folder / name}.json: {len(chosen)} photos")


if __name__ == "__main__":
    main()
