from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks
from mobilesam.boxes import to_inclusive
from mobilesam.errors import PromptError, SettingsError
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.grid import point_grid
from mobilesam.everything.settings import EverythingSettings

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = Path(__file__).parents[1] / "golden"
QUICK = EverythingSettings(points_per_side=6)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / max(1, (a | b).sum())


@pytest.mark.torch
def test_masks_boxes_and_scores_are_the_references() -> None:
    from mobilesam.model.backend import TorchBackend
    from tests.helpers.networks import build

    with np.load(GOLDEN / "everything.npz") as file:
        golden = {key: file[key] for key in file.files}
    settings = EverythingSettings(**json.loads(str(golden["settings"])), points_per_batch=8)
    found = segment_everything(
        mobilesam.Predictor(TorchBackend(build("t"))), EXAMPLES / "chelsea.png", settings=settings
    )
    assert len(found) == len(golden["area"])
    scores = [mask.score for mask in found]
    np.testing.assert_allclose(scores, golden["predicted_iou"], atol=1e-3)
    np.testing.assert_allclose([m.stability_score for m in found], golden["stability_score"], atol=2e-3)
    for i, mask in enumerate(found):
        record = mask.to_sa1b()
        assert record["point_coords"] == golden["point_coords"][i].tolist()
        assert record["crop_box"] == golden["crop_box"][i].tolist()
        np.testing.assert_allclose(record["bbox"], golden["bbox"][i], atol=1)
        assert record["area"] == pytest.approx(golden["area"][i], rel=2e-3)
        size = list(mask.array.shape)
        expected = masks.from_rle({"size": size, "counts": str(golden["counts"][i])})
        assert iou(mask.array, expected) > 0.998, i


def test_the_embedded_model_finds_things_best_first(embedded: mobilesam.Predictor) -> None:
    found = segment_everything(embedded, EXAMPLES / "coffee.png", settings=replace(QUICK, points_per_side=10))
    assert len(found) >= 3
    scores = [mask.score for mask in found]
    assert scores == sorted(scores, reverse=True)
    for mask in found:
        assert mask.array.shape == (400, 600)
        assert mask.area == mask.array.sum()
        x0, y0, x1, y1 = mask.box_xyxy
        assert mask.array[y0:y1, x0:x1].sum() == mask.area


def test_a_batch_of_any_size_gives_the_same_masks(embedded: mobilesam.Predictor, coffee_embedding) -> None:
    one = segment_everything(embedded, coffee_embedding, settings=replace(QUICK, points_per_batch=1))
    all_at_once = segment_everything(embedded, coffee_embedding, settings=replace(QUICK, points_per_batch=36))
    assert len(one) == len(all_at_once)
    for mask in one:  # not in order: scores that differ by rounding alone may change places
        assert any(other.point_xy == mask.point_xy and iou(other.array, mask.array) > 0.999 for other in all_at_once)


def test_an_embedding_gives_what_the_photo_gives(embedded: mobilesam.Predictor, coffee_embedding) -> None:
    from_photo = segment_everything(embedded, EXAMPLES / "coffee.png", settings=QUICK)
    from_embedding = segment_everything(embedded, coffee_embedding, settings=QUICK)
    assert from_photo == from_embedding
    with pytest.raises(SettingsError, match="give the photo"):
        segment_everything(embedded, coffee_embedding, settings=replace(QUICK, crop_n_layers=1))


def test_crops_find_smaller_things_in_the_photos_frame(embedded: mobilesam.Predictor) -> None:
    settings = replace(QUICK, points_per_side=4, crop_n_layers=1)
    found = segment_everything(embedded, EXAMPLES / "coffee.png", settings=settings)
    crops = {mask.crop_box_xyxy for mask in found}
    assert len(crops) > 1
    for mask in found:
        x0, y0, x1, y1 = mask.crop_box_xyxy
        outside = mask.array.copy()
        outside[y0:y1, x0:x1] = False
        assert not outside.any()


def test_no_mask_of_a_crop_is_cut_off_by_its_border(embedded: mobilesam.Predictor) -> None:
    settings = replace(QUICK, points_per_side=8, crop_n_layers=1, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    found = segment_everything(embedded, EXAMPLES / "coffee.png", settings=settings)
    of_crops = [mask for mask in found if mask.crop_box_xyxy != (0, 0, 600, 400)]
    assert len(of_crops) > 5
    for mask in of_crops:
        for end, border, photo in zip(to_inclusive(mask.box_xyxy), mask.crop_box_xyxy, (0, 0, 600, 400), strict=True):
            assert abs(end - border) > 20 or abs(end - photo) <= 20


def test_crops_in_which_nothing_survives_are_no_error(embedded: mobilesam.Predictor) -> None:
    settings = replace(QUICK, points_per_side=2, crop_n_layers=1, pred_iou_thresh=1.0)
    assert segment_everything(embedded, EXAMPLES / "coffee.png", settings=settings) == []


def test_only_the_region_is_asked(embedded: mobilesam.Predictor, coffee_embedding) -> None:
    region = np.zeros((400, 600), bool)
    region[:, :300] = True
    open_settings = replace(QUICK, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.1)
    found = segment_everything(embedded, coffee_embedding, settings=open_settings, region=region)
    assert len(found) == 18 * 3
    assert all(mask.point_xy[0] < 300 for mask in found)
    with pytest.raises(SettingsError, match="the photo's size"):
        segment_everything(embedded, coffee_embedding, region=region[:10])


def test_a_callers_points_and_a_detectors_boxes(embedded: mobilesam.Predictor, coffee_embedding) -> None:
    settings = replace(QUICK, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.1)
    found = segment_everything(
        embedded, coffee_embedding, settings=settings, points=[(290, 120)], boxes=[(170, 15, 410, 310)]
    )
    assert len(found) == 4
    box = coffee_embedding.predict(box=(170, 15, 410, 310)).best
    assert any(np.array_equal(mask.array, box.array) and mask.point_xy == (290.0, 162.5) for mask in found)


def test_by_tinysams_rule_the_second_pass_asks_only_where_the_coarse_one_found_nothing(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    asked: list[int] = []

    def count(done: int, total: int) -> None:
        if done == total:
            asked.append(total)

    # A coarse pass of four points, so that it leaves something uncovered.
    settings = replace(QUICK, points_per_side=16, box_nms_thresh=1.1, pred_iou_thresh=0.7, stability_score_thresh=0.0)
    coarse_points = point_grid(2) * (600, 400)
    coarse = segment_everything(embedded, coffee_embedding, settings=settings, points=coarse_points)
    covered = np.any([mask.array for mask in coarse], axis=0)
    both = replace(settings, coarse_factor=8, dense_where="uncovered")
    found = segment_everything(embedded, coffee_embedding, settings=both, progress=count)
    assert asked[0] == 4
    assert 0 < asked[1] < 256
    second = [mask for mask in found if mask.point_xy not in {tuple(p) for p in coarse_points.tolist()}]
    assert second
    assert not any(covered[int(mask.point_xy[1]), int(mask.point_xy[0])] for mask in second)


def test_the_second_pass_asks_around_what_is_small(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    settings = replace(QUICK, points_per_side=16, coarse_factor=2, box_nms_thresh=1.1)
    for share, fewest, most in ((0.0, 0, 0), (0.05, 1, 255), (1.0, 256, 256)):
        asked: list[int] = []
        segment_everything(
            embedded,
            coffee_embedding,
            settings=replace(settings, small_share=share),
            progress=lambda done, total, asked=asked: asked.append(total),  # type: ignore[misc]
        )
        assert asked[0] == 64
        assert fewest <= (asked[-1] if asked[-1] != 64 else 0) <= most


def test_refining_asks_once_more_inside_each_mask(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    found = segment_everything(embedded, coffee_embedding, settings=QUICK)
    refined = segment_everything(embedded, coffee_embedding, settings=replace(QUICK, refine=True))
    grid = {tuple(p) for p in (point_grid(6) * (600, 400)).tolist()}
    new = [mask for mask in refined if mask.point_xy not in grid]
    assert new
    for mask in new:
        x, y = (int(side) for side in mask.point_xy)
        assert any(old.array[y, x] for old in found)
    assert np.mean([m.score for m in refined]) >= np.mean([m.score for m in found]) - 0.02


def test_masks_of_a_large_photo_are_judged_at_a_smaller_size_and_come_out_alike(
    embedded: mobilesam.Predictor, coffee: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = cv2.resize(np.asarray(Image.open(coffee).convert("RGB")), (2400, 1600))
    roughly = segment_everything(embedded, large, settings=QUICK)
    monkeypatch.setattr("mobilesam.everything.candidates.JUDGED_SIDE", 10**6)
    exactly = segment_everything(embedded, large, settings=QUICK)
    assert [mask.point_xy for mask in roughly] == [mask.point_xy for mask in exactly]
    for a, b in zip(roughly, exactly, strict=True):
        assert (a.rle(), a.area, a.box_xyxy) == (b.rle(), b.area, b.box_xyxy)
        assert a.stability_score == pytest.approx(b.stability_score, abs=0.01)


def test_logits_that_would_take_too_much_memory_do_not_wait(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = segment_everything(embedded, coffee_embedding, settings=QUICK)
    monkeypatch.setattr("mobilesam.everything.generate.MAX_WAITING", 0)
    at_once = segment_everything(embedded, coffee_embedding, settings=QUICK)
    assert waited == at_once


def test_small_holes_and_islands_go(embedded: mobilesam.Predictor, coffee_embedding) -> None:
    settings = replace(QUICK, min_mask_region_area=200)
    for mask in segment_everything(embedded, coffee_embedding, settings=settings):
        for array in (mask.array, ~mask.array):
            count, _, stats, _ = cv2.connectedComponentsWithStats(array.astype(np.uint8), connectivity=8)
            assert count <= 2 or stats[1:, cv2.CC_STAT_AREA].min() >= 200


@pytest.mark.parametrize("hw", [(1, 1), (50, 10000), (10000, 50), (60, 60)])
def test_odd_and_black_photos_give_an_answer(embedded: mobilesam.Predictor, hw: tuple[int, int]) -> None:
    settings = replace(QUICK, points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)  # which keep some
    found = segment_everything(embedded, np.zeros((*hw, 3), np.uint8), settings=settings)
    assert found
    assert {mask.array.shape for mask in found} == {hw}


@pytest.mark.parametrize(
    ("setting", "value"), [("points_per_side", 0), ("points_per_batch", 0), ("crop_n_layers", -1), ("coarse_factor", 0)]
)
def test_impossible_settings_are_refused(setting: str, value: int) -> None:
    with pytest.raises(SettingsError, match=setting):
        EverythingSettings(**{setting: value})
    with pytest.raises(SettingsError, match='one of "small", "uncovered", found'):
        EverythingSettings(dense_where="nowhere")


LARGE = """
import sys
import numpy as np
from PIL import Image
import mobilesam
photo = np.asarray(Image.open(sys.argv[1]).convert("RGB").resize((6000, 4000)))
settings = mobilesam.EverythingSettings(points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0)
found = mobilesam.segment_everything(mobilesam.load(backend="onnx"), photo, settings=settings)
assert found[0].array.shape == (4000, 6000)
peak = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
print(int(peak) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_a_photo_of_24_megapixels_takes_less_than_a_gigabyte() -> None:
    command = [sys.executable, "-c", LARGE, str(EXAMPLES / "coffee.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 1024


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"boxes": [(1, 2, 3)]}, PromptError, r"boxes must be \(N, 4\).*found shape \(1, 3\)"),
        ({"boxes": np.zeros((4, 3))}, PromptError, r"found shape \(4, 3\)"),
        ({"boxes": [(1, 2, 3, np.nan)]}, PromptError, "boxes must be finite"),
        ({"boxes": "all"}, PromptError, "boxes must be numbers"),
        ({"points": [(1, 2, 3)]}, PromptError, r"points must be \(N, 2\)"),
        ({"points": [(700, 2)], "region": np.ones((400, 600), bool)}, PromptError, "outside the photo"),
        ({"region": [[True]]}, SettingsError, r"\(400, 600\), not \(1, 1\)"),
        ({"region": [[True], [True, False]]}, SettingsError, "region must be an array of the photo's size"),
        ({"region": np.full((400, 600), 0.5)}, SettingsError, "True and False"),
        ({"region": np.full((400, 600), "x")}, SettingsError, "True and False"),
        ({"point_grids": [[(0.5, 0.5, 0.5)]]}, PromptError, "point_grids"),
    ],
)
def test_what_is_given_in_another_shape_is_refused(
    embedded: mobilesam.Predictor,
    coffee_embedding: mobilesam.ImageEmbedding,
    arguments: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        mobilesam.segment_everything(embedded, coffee_embedding, settings=QUICK, **arguments)


def test_a_region_may_be_a_list_and_a_picture(
    embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    region = np.zeros((400, 600), np.uint8)
    region[:, 300:] = 255
    points = [(600, 100), (10, 10), (450, 100)]
    forms = [region > 0, region, (region > 0).tolist()]
    found = [
        mobilesam.segment_everything(embedded, coffee_embedding, settings=QUICK, points=points, region=form)
        for form in forms
    ]
    assert [[m.area for m in masks] for masks in found[1:]] == [[m.area for m in found[0]]] * 2
    assert not {mask.point_xy for mask in found[0]} & {(10, 10)}


@pytest.mark.parametrize(
    "setting",
    [
        {"points_per_side": "x"}, {"points_per_side": 2.5}, {"points_per_side": True}, {"points_per_side": None},
        {"points_per_side": 100_000}, {"points_per_batch": 0}, {"crop_n_layers": -1}, {"crop_n_layers": 40},
        {"pred_iou_thresh": float("nan")}, {"stability_score_thresh": float("nan")}, {"box_nms_thresh": float("nan")},
        {"crop_nms_thresh": -0.1}, {"stability_score_thresh": 1.5}, {"stability_score_offset": float("inf")},
        {"pred_iou_thresh": "0.5"}, {"crop_overlap_ratio": float("nan")}, {"small_share": -1}, {"refine": "yes"},
        {"min_mask_region_area": 1.5}, {"crop_n_points_downscale_factor": 0}, {"dense_where": 3},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(SettingsError, match=name):
        mobilesam.EverythingSettings(**setting)


def test_numbers_of_numpy_are_settings_too() -> None:
    settings = mobilesam.EverythingSettings(points_per_side=np.int64(4), pred_iou_thresh=np.float32(0.5))
    assert settings.points_per_side == 4


def test_a_preview_shows_masks_that_do_not_overlap_and_changes_nothing(embedded) -> None:
    shown: list[list[mobilesam.FoundMask]] = []
    settings = replace(QUICK, points_per_batch=12)
    photo = EXAMPLES / "coffee.png"
    found = segment_everything(embedded, photo, settings=settings, preview=shown.append)
    assert found == segment_everything(embedded, photo, settings=settings)
    assert len(shown) > 1
    assert all(shown)
    masks_shown = [mask for part in shown for mask in part]
    for i, mask in enumerate(masks_shown):
        for other in masks_shown[:i]:
            assert box_iou(mask.box_xyxy, other.box_xyxy) <= settings.box_nms_thresh + 0.02
    arrays = [mask.array for mask in masks_shown]
    assert all(max(iou(mask.array, array) for array in arrays) > 0.5 for mask in found)


def box_iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - width * height
    return width * height / max(1, total)
