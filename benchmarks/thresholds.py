"""Which thresholds of `everything` suit a model: what each pair keeps of the recall, and how many masks it leaves.

    python -m benchmarks.thresholds 'PATH/*.tar' [--model M] [--sources coco_taming,cocostuff35,ade30] [--photos 60]

Run it on photos that were trained on and are annotated nearly whole, never on photos of an evaluation. Every photo is
searched once with nothing left out; each pair of thresholds is then applied to what was found, as the search would.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from tqdm import tqdm

import mobilesam
from benchmarks.common import machine, make_parser, parse, synthetic_shard
from mobilesam.evaluate.metrics import average_recall
from mobilesam.everything.candidates import FoundMask
from mobilesam.everything.filters import nms
from mobilesam.shards import Sample, expand, index_shard, read_photo, source_of

SCORES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
STABILITIES = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
NMS = 0.7


def pick(patterns: str, sources: Sequence[str], count: int) -> list[Sample]:
    """Photos of some sources, evenly spread over them."""
    samples = [sample for shard in expand([patterns]) for sample in index_shard(shard)]
    kept = [sample for sample in samples if source_of(sample.read_record()) in sources]
    return kept[:: max(1, len(kept) // count)][:count]


def search(sam: mobilesam.Predictor, sample: Sample, per_side: int) -> tuple[list[FoundMask], NDArray[np.float64]]:
    """All masks of a photo with nothing left out, and their IoU with each annotated object."""
    photo = read_photo(sample)
    settings = mobilesam.EverythingSettings(
        points_per_side=per_side, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.1
    )
    found = mobilesam.segment_everything(sam, photo.rgb, settings=settings)
    truths = [annotation["segmentation"] for annotation in photo.annotations]
    truths = [{**t, "counts": t["counts"].encode()} if isinstance(t["counts"], str) else t for t in truths]
    ours = [{**mask.rle, "counts": mask.rle["counts"].encode()} for mask in found]
    return found, np.asarray(coco_mask.iou(ours, truths, [0] * len(truths)), float).reshape(len(ours), len(truths))


def apply(found: list[FoundMask], ious: NDArray[np.float64], score: float, stability: float) -> tuple[float, int, int]:
    """AR@1000 of what two thresholds keep, the number of masks, and how many of them are an annotated object."""
    kept = [i for i, m in enumerate(found) if m.predicted_iou > score and m.stability_score >= stability]
    if not kept:
        return 0.0, 0, 0
    boxes = np.array([found[i].box for i in kept], float) + np.array([0, 0, 1, 1])
    stays = nms(boxes, np.array([found[i].predicted_iou for i in kept]), NMS)
    chosen = ious[[kept[i] for i in stays]]
    return average_recall(chosen, 1000), len(stays), int((chosen.max(axis=1) >= 0.5).sum())


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
    samples = pick(arguments.data, arguments.sources.split(","), arguments.photos)
    searched = [search(sam, sample, arguments.points_per_side) for sample in tqdm(samples, unit="photo")]
    print(f"{sam.info.name} {sam.info.weights_sha256[:12]}, {len(samples)} photos, {machine(1, ('onnxruntime',))}\n")
    print(
        "| score above | stability from | AR@1000 | masks a photo | of them annotated objects |\n|---|---|---|---|---|"
    )
    for score, stability in product(SCORES, STABILITIES):
        rows = np.array([apply(found, ious, score, stability) for found, ious in searched], float)
        recall, masks, hits = rows.mean(axis=0)
        print(f"| {score} | {stability} | {recall:.3f} | {masks:.1f} | {hits / max(masks, 1e-9):.2f} |")


if __name__ == "__main__":
    main()
