"""All masks of a photo against all its annotated objects.

Rule (SAM, arXiv 2304.02643, section 7.3, without classes): the generator's masks in the order of their scores; average
recall over IoU 0.50-0.95 of the first 10, 100 and 1,000, over the photos that have objects. Any generator will do: the
seam is a function from a photo to scored masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mobilesam.evaluate.metrics import Mask, average_recall
from mobilesam.image import Rgb
from mobilesam.masks import Rle, to_rle

EVERYTHING = "everything"
"""Its name among the protocols."""
LIMITS = (10, 100, 1000)
Generate = Callable[[Rgb], Iterable[tuple[Mask, float]]]
"""A photo → its masks (H, W) with scores, in any order."""


def photo_recall(generate: Generate, rgb: Rgb, truths: Sequence[Mask]) -> dict[str, float]:
    """Average recall of one photo: {"ar_10": ..., "ar_100": ..., "ar_1000": ...}; NaN where it has no object.

    Masks are kept as run lengths, so that a thousand of a large photo fit in memory.
    """
    return recall([(to_rle(mask), score) for mask, score in generate(rgb)], truths)


def recall(proposals: Sequence[tuple[Rle | Callable[[], Rle], float]], truths: Sequence[Mask]) -> dict[str, float]:
    """`photo_recall` of masks that are run lengths already, or a `Mask`'s method that gives them, with their scores."""
    given = [(rle() if callable(rle) else rle, score) for rle, score in proposals]
    ordered = sorted(given, key=lambda pair: -pair[1])
    objects = [to_rle(truth) for truth in truths]
    if ordered and objects:
        ious = np.asarray(coco_mask.iou([rle for rle, _ in ordered], objects, [0] * len(objects)))
    else:
        ious = np.zeros((len(ordered), len(objects)))
    return {f"ar_{limit}": average_recall(ious, limit) for limit in LIMITS}
