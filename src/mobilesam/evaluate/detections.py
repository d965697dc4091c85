"""Zero-shot instance segmentation: a detector's boxes as prompts, scored as COCO or LVIS AP.

Rule (SAM, arXiv 2304.02643, section 7.4): every box of a COCO-format detection file is a prompt; the single mask takes
the detector's class and score; COCO's evaluation counts 100 masks a photo, LVIS's 300. Which box file is used moves the
AP by several points, so the report names it with its sha256.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mobilesam import weights
from mobilesam.errors import DataError, PromptError
from mobilesam.evaluate.readers import read_coco
from mobilesam.evaluate.samples import Problem, Sample
from mobilesam.extras import require
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.zoom import Zoom

COCO_MAX_DETECTIONS = [1, 10, 100]
LVIS_MAX_DETECTIONS = [300]


def evaluate_detections(
    sam: Predictor,
    truth: Path,
    detections: Path,
    images: Path | None = None,
    *,
    zoom: Zoom = "auto",
    progress: Any = iter,
) -> dict[str, Any]:
    """COCO or LVIS AP of one detection file.

    Args:
        sam: the model.
        truth: COCO or LVIS instance JSON.
        detections: a list of {"image_id", "category_id", "bbox": [x, y, w, h], "score"}.
        images: folder of the photos.
        zoom: second looks, as in `ImageEmbedding.predict`.
        progress: wraps the photos, for a bar.

    Returns:
        "ap" with every number faster-coco-eval reports, the protocol's name, the detection file's sha256, and problems.

    Raises:
        DataError: a file is not what it should be.
        MissingExtraError: faster-coco-eval is not installed.
    """
    require("faster_coco_eval", "eval", "COCO and LVIS AP")  # before hours of masks, not after
    by_image = group_boxes(detections)
    results: list[dict[str, Any]] = []
    problems: list[list[str]] = []
    for item in progress(list(read_coco(truth, images))):
        if isinstance(item, Problem):
            problems.append([item.name, item.reason])
        else:
            results += segment_boxes(sam, item, by_image.get(item.image_id or 0, []), problems, zoom)
    ap, is_lvis = score(truth, results)
    return {
        "protocol": "detections",
        "style": "LVIS" if is_lvis else "COCO",
        "mask": "single mask, detector's score",
        "zoom": zoom,
        "detections": detections.name,
        "detections_sha256": weights.file_sha256(detections),
        "num_masks": len(results),
        "problems": problems,
        "ap": ap,
    }


def group_boxes(path: Path) -> dict[int, list[dict[str, Any]]]:
    """Detections by photo.

    Raises:
        DataError: the file is no list of detections.
    """
    groups: dict[int, list[dict[str, Any]]] = defaultdict(list)
    try:
        for box in json.loads(path.read_text(encoding="utf-8")):
            _ = box["category_id"], box["score"], box["bbox"][3]
            groups[box["image_id"]].append(box)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"'{path}' is not a COCO detection file: expected a list of objects with image_id, category_id, bbox and "
            f"score ({type(error).__name__}: {error})"
        ) from error
    return groups


def segment_boxes(
    sam: Predictor, sample: Sample, boxes: Iterable[dict[str, Any]], problems: list[list[str]], zoom: Zoom = "auto"
) -> list[dict[str, Any]]:
    """One mask per box of one photo, in COCO's result format."""
    try:
        image = sam.embed(sample.open())
    except DataError as error:
        problems.append([sample.name, str(error)])
        return []
    results = []
    for box in boxes:
        x, y, w, h = box["bbox"]
        try:
            found = image.predict(box=(x, y, x + w, y + h), multimask=False, zoom=zoom)
        except PromptError as error:
            problems.append([sample.name, str(error)])
            continue
        kept = {key: box[key] for key in ("image_id", "category_id", "score")}
        results.append({**kept, "segmentation": found.best.rle()})
    return results


def score(truth: Path, results: list[dict[str, Any]]) -> tuple[dict[str, float], bool]:
    """faster-coco-eval's numbers, 0-1, and whether they are LVIS's, whose categories state a frequency."""
    from faster_coco_eval import COCO, COCOeval_faster

    if not results:
        raise DataError("no detection belongs to a photo of the annotation file; do their image_ids match?")
    reference = COCO(str(truth))
    is_lvis = any("frequency" in category for category in reference.dataset["categories"])
    evaluation = COCOeval_faster(reference, reference.loadRes(results), "segm", lvis_style=is_lvis)
    evaluation.params.maxDets = LVIS_MAX_DETECTIONS if is_lvis else COCO_MAX_DETECTIONS
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {name: float(value) for name, value in evaluation.stats_as_dict.items()}, is_lvis
