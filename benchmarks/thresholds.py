"""Which thresholds of `everything` suit a model: what each pair keeps of the recall, and how many masks it leaves.

    python -m benchmarks.thresholds 'PATH/*.tar' [--model M] [--sources coco_taming,cocostuff35,ade30] [--photos 60]

Run it on photos that were trained on and are annotated nearly whole, never on photos of an evaluation. Every photo is
searched once with nothing left out; each pair of thresholds is then applied to what was found, as the search would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from tqdm import tqdm

import mobilesam
from benchmarks.common import machine, make_parser, parse, synthetic_shard
from mobilesam.data.layouts import read_all
from mobilesam.data.photo import PhotoRef
from mobilesam.evaluate.everything import NUM_THRESHOLDS, count_recalled
from mobilesam.everything.filters import nms
from mobilesam.everything.results import FoundMask
from mobilesam.masks import Rle
from mobilesam.tables import table

SCORES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
STABILITIES = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
NMS = 0.7


def pick(pattern: str, sources: Sequence[str], count: int) -> list[PhotoRef]:
    """Photos of some sources, evenly spread over them."""
    photos = (item for item in read_all([pattern]) if isinstance(item, PhotoRef) and item.truth is not None)
    kept = [photo for photo in photos if photo.annotation().source in sources]
    return kept[:: max(1, len(kept) // count)][:count]


@dataclass(frozen=True)
class Searched:
    """All masks of a photo with nothing left out, its annotated objects, and the IoU of each pair."""

    found: list[FoundMask]
    objects: list[Rle]
    ious: NDArray[np.float64]
    """(num_masks, num_objects)"""


def search(sam: mobilesam.Predictor, photo: PhotoRef, per_side: int) -> Searched:
    """Search one photo."""
    rgb = photo.open()
    settings = mobilesam.EverythingSettings(
        points_per_side=per_side, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0
    )
    found = mobilesam.segment_everything(sam, rgb, settings=settings)
    objects = [one.shape.rle(rgb.shape[:2]) for one in photo.annotation().objects if not one.is_crowd]
    overlaps = coco_mask.iou([mask.rle() for mask in found], objects, [0] * len(objects))
    return Searched(found, objects, np.asarray(overlaps, float).reshape(len(found), len(objects)))


def apply(photo: Searched, score: float, stability: float) -> tuple[int, int, int]:
    """What two thresholds keep: recalled pairs of object and IoU threshold, masks, masks of an annotated object."""
    kept = [i for i, m in enumerate(photo.found) if m.score > score and m.stability_score >= stability]
    if not kept:
        return 0, 0, 0
    boxes = np.array([photo.found[i].box_xyxy for i in kept], float)
    stays = [kept[i] for i in nms(boxes, np.array([photo.found[i].score for i in kept]), NMS)]
    proposals = [(photo.found[i].rle(), photo.found[i].score) for i in stays]
    hits = int((photo.ious[stays].max(axis=1, initial=0) >= 0.5).sum())
    return count_recalled(proposals, photo.objects)[1000], len(stays), hits


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("data")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--sources", default="coco_taming,cocostuff35,ade30")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--points-per-side", type=int, default=32)
    arguments = parse(
        parser,
        lambda folder: (synthetic_shard(folder), "--sources", "a,b", "--photos", "1", "--points-per-side", "4"),
    )
    sam = mobilesam.load(arguments.model, threads=1)
    photos = pick(arguments.data, arguments.sources.split(","), arguments.photos)
    searched = [search(sam, photo, arguments.points_per_side) for photo in tqdm(photos, unit="photo")]
    num_pairs = NUM_THRESHOLDS * sum(len(photo.objects) for photo in searched)
    print(f"{sam.info.name} {sam.info.weights_sha256[:12]}, {len(photos)} photos, {machine(1, ('onnxruntime',))}\n")
    rows = []
    for score, stability in product(SCORES, STABILITIES):
        recalled, masks, hits = np.array([apply(photo, score, stability) for photo in searched]).sum(axis=0)
        numbers = [f"{recalled / num_pairs:.3f}", f"{masks / len(photos):.1f}", f"{hits / max(masks, 1):.2f}"]
        rows.append([score, stability, *numbers])
    header = ["score above", "stability from", "AR@1000", "masks per photo", "of them annotated objects"]
    print("\n".join(table(header, rows)))


if __name__ == "__main__":
    main()
