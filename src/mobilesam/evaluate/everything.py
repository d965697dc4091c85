"""The protocol `everything`: average recall (AR) of all masks of a photo against its annotated objects.

Rule (SAM, arXiv 2304.02643, section 7.3, class-agnostic): of the generated masks, the 10, 100 or 1,000 with the highest
scores are matched with the annotated objects of their photo at the IoU thresholds 0.50, 0.55, ..., 0.95. Masks are
matched in the order of their scores, each with the unmatched object of highest IoU. AR is the fraction of matched
objects over all photos, averaged over the thresholds; photos without objects are not counted. It is computed by
faster-coco-eval (`useCats=0`, area "all").
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mobilesam.evaluate.metrics import bootstrap_ratio, photo_order
from mobilesam.evaluate.records import RECALL_LIMITS, EvaluatedPhoto, Search
from mobilesam.evaluate.summaries import Interval, Recall
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.settings import EverythingSettings
from mobilesam.extras import require
from mobilesam.masks import Rle
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor

NUM_THRESHOLDS = 10  # 0.50, 0.55, ..., 0.95


def require_coco_eval() -> None:
    """Check that faster-coco-eval is installed; called before hours of work, not after.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    require("faster_coco_eval", "eval", "average precision and average recall")


def search(sam: Predictor, image: ImageEmbedding, truths: Sequence[Rle], settings: EverythingSettings) -> Search:
    """Find all masks of a photo, and count how many of its annotated objects they recall."""
    assert image.photo is not None
    photo = image.photo if settings.crop_n_layers else image  # crops are encoded from the pixels
    # Progress counts from 0 again for each crop and for the coarse grid, so the totals of finished passes are added up.
    passes: list[int] = []

    def count(asked: int, total: int) -> None:
        if asked == total:
            passes.append(total)

    start = time.perf_counter()
    found = segment_everything(sam, photo, settings=settings, progress=count)
    seconds = time.perf_counter() - start
    # After the clock stopped: matching is part of the measurement, not of the search.
    recalled = count_recalled([(mask.rle(), mask.score) for mask in found], truths)
    return Search(len(truths), len(found), sum(passes), seconds, recalled)


def count_recalled(proposals: Sequence[tuple[Rle, float]], objects: Sequence[Rle]) -> dict[int, int]:
    """Number of recalled (object, IoU threshold) pairs on one photo, for each limit of masks.

    Args:
        proposals: masks with their scores, in any order.
        objects: the annotated masks.
    """
    if not proposals or not objects:
        return dict.fromkeys(RECALL_LIMITS, 0)  # nothing to match
    from faster_coco_eval import COCO, COCOeval_faster

    height, width = objects[0]["size"]
    shared = {"image_id": 1, "category_id": 1}
    truth = COCO(
        {
            "images": [{"id": 1, "height": height, "width": width}],
            "categories": [{"id": 1, "name": "object"}],
            "annotations": [
                {**shared, "id": i, "segmentation": rle, "area": int(coco_mask.area(rle)), "iscrowd": 0}
                for i, rle in enumerate(objects, 1)
            ],
        }
    )
    found = truth.loadRes([{**shared, "segmentation": rle, "score": score} for rle, score in proposals])
    evaluation = COCOeval_faster(truth, found, "segm")
    evaluation.params.useCats = 0  # class-agnostic: the masks have no class
    evaluation.params.maxDets = list(RECALL_LIMITS)
    evaluation.evaluate()
    evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, 0, :]  # (thresholds, limits) of the one class and of all areas
    # COCO gives fractions; counts can be added up over photos, and are whole numbers up to rounding errors.
    counts = np.rint(recall * len(objects)).astype(int).sum(axis=0)
    return dict(zip(RECALL_LIMITS, counts.tolist(), strict=True))


def average_recall(results: Sequence[EvaluatedPhoto]) -> Recall | None:
    """Average recall over all objects of all photos, as COCO defines it, with 95 % intervals over photos.

    COCO matches masks and objects within each photo, so its AR is a ratio of sums over photos, and the bootstrap can
    resample photos by adding up other photos. None if no photo has an object.
    """
    searches = {r.photo: r.search for r in results if r.search is not None and r.search.num_objects}
    if not searches:
        return None
    kept = [searches[photo] for photo in sorted(searches, key=photo_order)]
    pairs = np.array([one.num_objects for one in kept]) * NUM_THRESHOLDS
    intervals = {}
    for limit in RECALL_LIMITS:
        recalled = np.array([one.recalled[limit] for one in kept])
        intervals[limit] = Interval(float(recalled.sum() / pairs.sum()), *bootstrap_ratio(recalled, pairs))
    return Recall(
        num_photos=len(kept),
        num_objects=sum(one.num_objects for one in kept),
        average_recall=intervals,
        mean_num_masks=float(np.mean([one.num_masks for one in kept])),
        mean_num_prompts=float(np.mean([one.num_prompts for one in kept])),
    )
