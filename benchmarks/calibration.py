"""Which shift of the logits, and which penalty outside a prompt's box, suit a model: mean IoU for each.

    python -m benchmarks.calibration 'PATH/*.tar' [--model M] [--min-area 16]

They are `logit_shift` and `outside_box` of a model's configuration. Every object is prompted by its tight box, by boxes
whose sides are moved (by 5 and 10 % of the box, standard deviation) or all moved outwards (by up to 10 %), and by one
click. A model that is shifted already is shifted further.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import mobilesam
from benchmarks.common import machine, make_parser, parse, synthetic_shard
from mobilesam import boxes
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoRef
from mobilesam.masks import deepest_pixel
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.enclosure import Enclosure
from mobilesam.predict.results import Prediction
from mobilesam.tables import table

SHIFTS = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0)
PENALTIES = (0.0, 1.0, 2.0, 3.0, 99.0)
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
Ious = dict[tuple[str, float, float], list[float]]
"""IoU of every object, by prompt, shift and penalty."""


def ask(image: ImageEmbedding, truth: Mask, rng: np.random.Generator) -> Iterator[tuple[str, Box | None, Prediction]]:
    """Each prompt's name, box and answer."""
    tight = np.array(boxes.from_mask(truth), float)
    size = np.tile(tight[2:] - tight[:2], 2)  # (w, h, w, h)
    outwards = rng.uniform(0, 0.1, 4) * size * (-1, -1, 1, 1)
    moves = {
        "box": 0 * size,
        "box, 5 %": rng.normal(0, 0.05, 4) * size,
        "box, 10 %": rng.normal(0, 0.1, 4) * size,
        "box, loose": outwards,
    }
    for name, move in moves.items():
        box = tight + move
        h, w = truth.shape
        if min(np.clip(box[2], 0, w) - np.clip(box[0], 0, w), np.clip(box[3], 0, h) - np.clip(box[1], 0, h)) < 1:
            box = tight
        x0, y0, x1, y1 = box.tolist()
        yield name, (x0, y0, x1, y1), image.predict(box=box)
    yield "click", None, image.predict(points=[deepest_pixel(truth)[0]])


def measure(found: Prediction, box: Box | None, truth: Mask, name: str, ious: Ious) -> None:
    """Add the IoU of an answer's best mask for every shift and penalty."""
    logits = replace(found, enclosure=None).logits(found.best_index)
    for penalty in PENALTIES if box else (0.0,):
        lowered = logits.copy()
        if box:
            Enclosure(box, penalty).lower(lowered, found.original_hw)
        for shift in SHIFTS:
            mask = lowered > -shift
            ious[name, shift, penalty].append(float((mask & truth).sum() / max(1, (mask | truth).sum())))


def main() -> None:
    """Print a table for each prompt."""
    parser = make_parser(__doc__)
    parser.add_argument("data", nargs="*", help="data sets with masks, never those of an evaluation to come")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--min-area", type=int, default=16, help="pixels; smaller objects are left out")
    options = parse(parser, lambda folder: (str(synthetic_shard(folder)),))
    sam = mobilesam.load(options.model, threads=1)
    rng, ious = np.random.default_rng(0), defaultdict[tuple[str, float, float], list[float]](list)
    photos = [item for item in read_all(options.data) if isinstance(item, PhotoRef) and item.truth is not None]
    for photo in tqdm(photos, disable=None):
        rgb = photo.open()
        image = sam.embed(rgb)
        for one in photo.annotation().objects:
            truth = one.shape.mask(rgb.shape[:2])
            if not one.is_crowd and truth.sum() >= options.min_area:
                for name, box, found in ask(image, truth, rng):
                    measure(found, box, truth, name, ious)
    count = max(map(len, ious.values()))
    print(f"{sam.info.name} {sam.info.weights_sha256[:12]}, {count} objects; {machine(1, ('onnxruntime',))}")
    for name in dict.fromkeys(key[0] for key in ious):
        penalties = [p for p in PENALTIES if (name, 0.0, p) in ious]
        rows = [[shift, *(f"{np.mean(ious[name, shift, p]):.4f}" for p in penalties)] for shift in SHIFTS]
        print(f"\n{name}\n")
        print("\n".join(table(["shift", *(f"outside -{p:g}" for p in penalties)], rows)))


if __name__ == "__main__":
    main()
