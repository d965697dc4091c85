"""Masks for the boxes of a detector, as COCO: python examples/detector_boxes.py photo.jpg boxes.json masks.json

boxes.json is what most detectors can write: [{"bbox": [x, y, width, height], "category": "cup", "score": 0.9}, ...]
"""

import json
import sys
from pathlib import Path

import mobilesam

photo, boxes, output = sys.argv[1:]
detections = [one for one in json.loads(Path(boxes).read_text()) if one["score"] >= 0.5]
xyxy = [(x, y, x + width, y + height) for x, y, width, height in (one["bbox"] for one in detections)]

image = mobilesam.load().embed(photo)  # the encoder runs once, for all boxes
masks = [found.best for found in image.predict_batch(boxes=xyxy)]

coco = mobilesam.to_coco(
    masks, photo, original_hw=image.original_hw, categories=[one["category"] for one in detections]
)
Path(output).write_text(json.dumps(coco))
for one, mask in zip(detections, masks, strict=True):
    print(one["category"], mask)
