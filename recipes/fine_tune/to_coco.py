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
from mobilesam.masks import from_rle
from mobilesam.shards import Sample, expand, index_shard, source_of


def convert(samples: list[Sample], images: Path) -> dict[str, Any]:
    """Photos into a folder, their annotations into a COCO record."""
    record: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    for image_id, sample in enumerate(samples, 1):
        data = sample.read_record()
        name = f"{sample.name}.jpg"
        (images / name).write_bytes(sample.read_bytes())
        height, width = data["annotations"][0]["segmentation"]["size"]
        record["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
        for annotation in data["annotations"]:
            mask = from_rle(annotation["segmentation"])
            record["annotations"].append(
                {
                    "id": len(record["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "segmentation": annotation["segmentation"],
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
    samples = [s for shard in expand([arguments.shards]) for s in index_shard(shard)]
    samples = [s for s in samples if source_of(s.read_record()) == arguments.source]
    parts: dict[str, list[Sample]] = {"train": [], "held_out": []}
    for sample in samples:
        draw = zlib.crc32(b"held out" + sample.name.encode()) / 2**32
        parts["held_out" if draw < arguments.held_out else "train"].append(sample)
    for name, chosen in parts.items():
        (arguments.folder / f"{name}.json").write_text(json.dumps(convert(chosen, images)))
        print(f"{arguments.folder / name}.json: {len(chosen)} photos")


if __name__ == "__main__":
    main()
