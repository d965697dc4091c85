"""All masks of some photos as one COCO file: python examples/everything_to_coco.py masks.json photo.jpg ...

Boxes are in COCO's form [x, y, width, height], masks are run lengths, and "score" is the predicted IoU.
"""

import json
import sys
from pathlib import Path

import mobilesam

output, *photos = sys.argv[1:]
sam = mobilesam.load()
settings = mobilesam.EverythingSettings(points_per_side=16, coarse_factor=2)  # half of the time, most of the masks

coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "object"}]}
for number, photo in enumerate(photos, 1):
    image = sam.embed(photo)
    masks = mobilesam.segment_everything(sam, image, settings=settings)
    ids = {"image_id": number, "first_id": len(coco["annotations"]) + 1}
    record = mobilesam.to_coco(masks, photo, original_hw=image.original_hw, **ids)
    coco["images"] += record["images"]
    coco["annotations"] += record["annotations"]
    print(photo, len(masks), "masks")
Path(output).write_text(json.dumps(coco))
