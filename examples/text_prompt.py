"""Masks for words: an open-vocabulary detector finds boxes, mobilesam makes masks of them (as in Grounded-SAM).

    python text_prompt.py photo.jpg "a cup. a spoon." out.jpg      # pip install transformers torch

Any detector fits that takes a photo and words, and gives boxes (x0, y0, x1, y1) in pixels of the photo, each with a
name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from PIL import Image

import mobilesam
from mobilesam.draw import overlay

Box = tuple[float, float, float, float]
Detector = Callable[[Image.Image, str], list[tuple[Box, str]]]


def segment_words(photo: Image.Image, words: str, detect: Detector) -> list[tuple[str, mobilesam.Mask]]:
    """The name and the mask of each object that the detector finds."""
    found = detect(photo, words)
    if not found:
        return []
    boxes = [clipped(box, photo.size) for box, _ in found]  # detectors draw boxes a little beyond the photo
    image = mobilesam.load(quick_start=True).embed(photo)
    masks = image.predict_batch(boxes=boxes)
    return [(name, mask.best) for (_, name), mask in zip(found, masks, strict=True)]


def clipped(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box inside the photo."""
    x0, y0, x1, y1 = box
    width, height = size
    return max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)


def grounding_dino(photo: Image.Image, words: str) -> list[tuple[Box, str]]:
    """Grounding DINO of transformers, 690 MB; words in lower case, each ending in a full stop."""
    import torch
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    name = "IDEA-Research/grounding-dino-tiny"
    processor = AutoProcessor.from_pretrained(name)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(name)
    inputs = processor(images=photo, text=words, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        outputs, inputs.input_ids, threshold=0.3, text_threshold=0.25, target_sizes=[photo.size[::-1]]
    )
    return list(zip(found["boxes"].tolist(), found["text_labels"], strict=True))


if __name__ == "__main__":
    picture = Image.open(sys.argv[1]).convert("RGB")
    objects = segment_words(picture, sys.argv[2], grounding_dino)
    print(*(f"{name}: {mask}" for name, mask in objects), sep="\n")
    Image.fromarray(overlay(picture, [mask.array for _, mask in objects])).save(sys.argv[3])
