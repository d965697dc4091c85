"""What it costs to judge the masks of a large photo at a smaller size: stability, boxes, and which masks stay.

    python -m benchmarks.judged --photos 'PATH/*.tar' [--enlarge 3072] [--num-photos 20] [--points-per-side 16]
        [--threads 2]

Photos are enlarged, so that judging at `JUDGED_SIDE` and at the photo's size differ; both run on the embedded model
with its own thresholds. `identical` masks are compared for their stability too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from pycocotools import mask as coco_mask

import mobilesam
from benchmarks.common import machine, make_parser, parse, pick_photos, synthetic_shard
from mobilesam.everything import candidates
from mobilesam.everything.results import FoundMask


@contextmanager
def judged_at(side: int) -> Iterator[None]:
    """Masks are judged at this size inside."""
    before = candidates.JUDGED_SIDE
    candidates.JUDGED_SIDE = side
    try:
        yield
    finally:
        candidates.JUDGED_SIDE = before


def run(sam: mobilesam.Predictor, image: mobilesam.ImageEmbedding, per_side: int) -> tuple[list[FoundMask], float]:
    """The masks and the seconds they took."""
    start = time.perf_counter()
    found = mobilesam.segment_everything(sam, image, settings=mobilesam.EverythingSettings(points_per_side=per_side))
    return found, time.perf_counter() - start


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--enlarge", type=int, default=3072)
    parser.add_argument("--num-photos", type=int, default=20)
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parse(
        parser,
        lambda folder: (
            *("--photos", synthetic_shard(folder), "--num-photos", "1"),
            *("--enlarge", "1100", "--points-per-side", "4"),
        ),
    )
    sam = mobilesam.load(backend="onnx", threads=arguments.threads)
    stability, ious, counts, ratios = [], [], [], []
    for rgb in pick_photos(arguments.photos, arguments.num_photos):
        scale = arguments.enlarge / max(rgb.shape[:2])
        image = sam.embed(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
        roughly, rough_seconds = run(sam, image, arguments.points_per_side)
        with judged_at(10**6):
            exactly, exact_seconds = run(sam, image, arguments.points_per_side)
        counts.append((len(roughly), len(exactly)))
        ratios.append(exact_seconds / rough_seconds)
        if not roughly or not exactly:
            continue
        overlap = np.asarray(coco_mask.iou([m.rle() for m in exactly], [m.rle() for m in roughly], [0] * len(roughly)))
        ious += overlap.max(axis=1).tolist()
        same = [(e, roughly[int(np.argmax(row))]) for e, row in zip(exactly, overlap, strict=True) if row.max() == 1]
        stability += [abs(e.stability_score - r.stability_score) for e, r in same]
    identical = np.mean(np.array(ious) == 1)
    print(machine(arguments.threads, ("mobilesam", "onnxruntime")))
    print(f"{len(counts)} photos of {arguments.enlarge} pixels, judged at {candidates.JUDGED_SIDE}")
    print(f"masks: {sum(a for a, _ in counts)}, judged at the photo's size {sum(b for _, b in counts)}")
    print(f"of those, found again: mean IoU {np.mean(ious):.4f}, identical {identical:.1%}")
    print(f"stability differs by {np.mean(stability):.5f} on average, {np.max(stability):.5f} at most")
    print(f"{np.median(ratios):.1f} times faster")


if __name__ == "__main__":
    main()
