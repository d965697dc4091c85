from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mobilesam import extras, masks
from mobilesam.data.photo import PhotoId
from mobilesam.errors import MissingExtraError
from mobilesam.evaluate.everything import average_recall, count_recalled
from mobilesam.evaluate.photo import load_models
from mobilesam.evaluate.records import EvaluatedPhoto, Search
from mobilesam.evaluate.report import build
from mobilesam.evaluate.run import run
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.settings import EverythingSettings
from tests.helpers.oracle import square

pytest.importorskip("faster_coco_eval")

Proposals = list[tuple[masks.Rle, float]]
TRUTHS = [masks.to_rle(square(0, 0, 20)), masks.to_rle(square(30, 30, 20))]


def scored(*pairs: tuple[NDArray[np.bool_], float]) -> Proposals:
    return [(masks.to_rle(mask), score) for mask, score in pairs]


def result(path: str, proposals: Proposals, objects: list[masks.Rle], dataset: str = "d") -> EvaluatedPhoto:
    found = Search(len(objects), len(proposals), 1, 0.0, count_recalled(proposals, objects))
    return EvaluatedPhoto(photo=PhotoId(dataset, path), is_read=True, search=found)


def random_photo(rng: np.random.Generator, num_objects: int, num_masks: int) -> tuple[Proposals, list[masks.Rle]]:
    """Overlapping boxes; scores of one digit, so that many are equal."""

    def box() -> NDArray[np.bool_]:
        mask = np.zeros((48, 64), bool)
        y, x = rng.integers(0, 36), rng.integers(0, 50)
        mask[y : y + rng.integers(4, 20), x : x + rng.integers(4, 24)] = True
        return mask

    proposals = [(masks.to_rle(box()), float(rng.integers(10)) / 10) for _ in range(num_masks)]
    return proposals, [masks.to_rle(box()) for _ in range(num_objects)]


def cocos_recall(photos: list[tuple[Proposals, list[masks.Rle]]]) -> list[float]:
    """AR at 10, 100 and 1000 by pycocotools, class-agnostic, all photos at once."""
    shared = {"category_id": 1, "iscrowd": 0}
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for i, (proposals, objects) in enumerate(photos, 1):
        for rle in objects:
            area = int(masks.from_rle(rle).sum())
            one = {"id": len(annotations) + 1, "image_id": i, "segmentation": rle, "area": area}
            annotations.append({**shared, **one})
        found += [{"image_id": i, "category_id": 1, "segmentation": rle, "score": score} for rle, score in proposals]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i, "height": 48, "width": 64} for i in range(1, len(photos) + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "object"}],
    }
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "segm")
    evaluation.params.useCats = 0
    evaluation.params.maxDets = [10, 100, 1000]
    evaluation.evaluate()
    evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, 0, :]
    return [float(value) for value in recall.mean(axis=0)]


def test_average_recall_is_cocos_on_random_masks() -> None:
    rng = np.random.default_rng(0)
    counts = [(5, 40), (1, 3), (12, 200), (0, 30), (7, 0), (20, 1200)]
    photos = [random_photo(rng, *pair) for pair in counts]
    ours = average_recall([result(str(i), *photo) for i, photo in enumerate(photos)])
    assert ours is not None
    theirs = cocos_recall(photos)
    assert [ours.average_recall[limit].mean for limit in (10, 100, 1000)] == pytest.approx(theirs, abs=1e-12)
    assert len(set(theirs)) == 3, "the limits must differ for this to show anything"
    assert (ours.num_photos, ours.num_objects) == (5, 45)


def test_a_mask_is_matched_in_the_order_of_scores_and_not_by_the_best_pair() -> None:
    # The better-scored mask takes the one object at IoU 0.5, as COCO's rule has it, and still reaches only that.
    half, whole = square(0, 0, 20), square(0, 0, 20)
    half[:10] = False
    counts = count_recalled(scored((half, 0.9), (whole, 0.1)), TRUTHS[:1])
    assert counts == {10: 10, 100: 10, 1000: 10}  # at 0.5 by the half, above by the whole
    both = count_recalled(scored((square(0, 0, 20) | square(30, 30, 20), 0.9)), TRUTHS)
    assert both[10] == 1  # IoU 0.5 with either, for one of the two, at one of ten thresholds


def test_a_generator_that_finds_everything_recalls_everything() -> None:
    found = average_recall([result("a", [(truth, 0.5) for truth in TRUTHS], TRUTHS)])
    assert found is not None
    assert {interval.mean for interval in found.average_recall.values()} == {1.0}


def test_only_the_best_scored_count_within_a_limit() -> None:
    noise = [(masks.to_rle(square(44, 0, 3)), 0.9)] * 15
    counts = count_recalled([(TRUTHS[0], 0.1), *noise, (TRUTHS[1], 0.95)], TRUTHS)
    assert counts == {10: 10, 100: 20, 1000: 20}


def test_nothing_found_is_zero_and_photos_without_objects_do_not_count() -> None:
    empty = result("a", [(TRUTHS[0], 1.0)], [])
    assert average_recall([empty]) is None
    found = average_recall([empty, result("b", [], TRUTHS)])
    assert found is not None
    assert (found.num_photos, found.average_recall[100].mean) == (1, 0.0)


def test_objects_are_pooled_and_the_interval_draws_photos() -> None:
    all_found = result("a", [(TRUTHS[0], 0.5)], TRUTHS[:1])
    none_found = result("b", [], [*TRUTHS, TRUTHS[0]])
    found = average_recall([all_found, none_found])
    assert found is not None
    interval = found.average_recall[10]
    assert interval.mean == 0.25  # one object of four; the mean over photos would be 0.5
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_photos_of_one_name_in_two_data_sets_count_twice() -> None:
    both = [result("a", [(TRUTHS[0], 0.5)], TRUTHS[:1], "one"), result("a", [], TRUTHS[:1], "two")]
    found = average_recall(both)
    assert found is not None
    assert (found.num_photos, found.average_recall[10].mean) == (2, 0.5)


QUICK = EverythingSettings(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)


def test_everything_is_measured_per_photo_beside_the_protocols(settings: EvaluateSettings, tmp_path: Path) -> None:
    both = replace(settings, protocols=("box", "everything"), everything=QUICK)
    results, memory = run(both, tmp_path / "j")
    searches = [result.search for result in results if result.search]
    assert len(searches) == 12
    assert sum(len(result.rows) for result in results) == 12 * 2
    assert all(one.num_masks >= 1 for one in searches)
    assert {one.num_prompts for one in searches} == {QUICK.points_per_side**2}
    report = build(both, load_models(both).student.backend, results, memory)
    assert report.everything is not None
    assert (report.everything.num_photos, report.everything.num_objects) == (12, 24)
    means = [report.everything.average_recall[limit].mean for limit in (10, 100, 1000)]
    assert 0 <= means[0] <= means[1] <= means[2] <= 1
    assert means[2] > 0
    assert report.run.median_seconds_of_everything is not None


def test_without_the_extra_the_run_stops_before_it_begins(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(MissingExtraError, match="eval"):
        run(replace(settings, protocols=("everything",), zoom="auto"), tmp_path / "j")
    assert not list(tmp_path.iterdir())
