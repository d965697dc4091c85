"""All masks of a photo against all its annotated objects: average recall by COCO's rule.

Rule (SAM, arXiv 2304.02643, section 7.3, without classes): of the generator's masks the first 10, 100 and 1,000 by
score are matched with the objects of their photo, at each of the IoU thresholds 0.50, 0.55, ..., 0.95: the masks in
the order of their scores, each with the free object it overlaps most. The average recall is the share of matched
objects over all photos, averaged over the thresholds; a photo without objects counts nothing. faster-coco-eval
computes it (`useCats=0`, area "all").
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from mobilesam.evaluate.metrics import Mask, bootstrap_ratio, photo_order
from mobilesam.evaluate.records import RECALL_LIMITS, PhotoResult, Search
from mobilesam.evaluate.summaries import Interval, Recall
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.settings import EverythingSettings
from mobilesam.extras import require
from mobilesam.masks import Rle, to_rle
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor

NUM_THRESHOLDS = 10  # 0.50, 0.55, ..., 0.95


def require_coco_eval() -> None:
    """Refuse before hours of masks, not after.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
    """
    require("faster_coco_eval", "eval", "average precision and average recall")


def search(sam: Predictor, image: ImageEmbedding, truths: Sequence[Mask], settings: EverythingSettings) -> Search:
    """Find all masks of a photo, and count which of its objects they recall."""
    assert image.photo is not None
    photo = image.photo if settings.crop_n_layers else image  # crops are encoded anew
    passes: list[int] = []  # prompts of each pass of the search, once it is through

    def count(asked: int, total: int) -> None:
        if asked == total:
            passes.append(total)

    start = time.perf_counter()
    found = segment_everything(sam, photo, settings=settings, progress=count)
    seconds = time.perf_counter() - start
    recalled = count_recalled([(mask.rle(), mask.score) for mask in found], [to_rle(truth) for truth in truths])
    return Search(len(truths), len(found), sum(passes), seconds, recalled)


def count_recalled(proposals: Sequence[tuple[Rle, float]], objects: Sequence[Rle]) -> dict[int, int]:
    """Recalled pairs of an object and an IoU threshold on one photo, for each limit of masks.

    Args:
        proposals: masks with their scores, in any order.
        objects: what is annotated.
    """
    if not proposals or not objects:
        return dict.fromkeys(RECALL_LIMITS, 0)
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
    evaluation.params.useCats = 0
    evaluation.params.maxDets = list(RECALL_LIMITS)
    evaluation.evaluate()
    evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, 0, :]  # (thresholds, limits) of the one class and of all areas
    counts = np.rint(recall * len(objects)).astype(int).sum(axis=0)
    return dict(zip(RECALL_LIMITS, counts.tolist(), strict=True))


def average_recall(results: Sequence[PhotoResult]) -> Recall | None:
    """Average recall of many photos, all objects pooled as COCO pools them, with intervals over photos.

    COCO matches masks and objects photo by photo, so the counts of photos add up to its number, and a bootstrap that
    draws photos anew adds up other photos. None where no photo has an object.
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
