from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import mobilesam
from mobilesam import boxes, masks
from mobilesam.data.photo import PhotoId
from mobilesam.errors import DataError
from mobilesam.evaluate import detections
from mobilesam.evaluate.detections import evaluate_detections
from tests.helpers.scenes import draw_scene

pytest.importorskip("faster_coco_eval")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """COCO truth of six photos, and a detector that is right half the time."""
    rng = np.random.default_rng(1)
    images, annotations, found = [], [], []
    for i in range(6):
        rgb, objects = draw_scene(rng)
        Image.fromarray(rgb).save(tmp_path / f"{i}.png")
        images.append({"id": i + 1, "file_name": f"{i}.png", "height": 96, "width": 96})
        for j, mask in enumerate(objects):
            box = boxes.xyxy_to_xywh(boxes.from_mask(mask))
            shared = {"image_id": i + 1, "category_id": j + 1, "bbox": list(box)}
            area = int(mask.sum())
            rle = masks.to_rle(mask)
            annotations.append({**shared, "id": len(annotations) + 1, "segmentation": rle, "area": area, "iscrowd": 0})
            found.append({**shared, "score": float(rng.random())})
            x, y, w, h = box
            found.append({**shared, "bbox": [x / 2, y, w, h], "score": float(rng.random())})
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
    truth, det = tmp_path / "truth.json", tmp_path / "det.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    det.write_text(json.dumps(found))
    return truth, det


def test_ap_equals_pycocotools_to_the_last_digit_printed(
    files: tuple[Path, Path], embedded: mobilesam.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, det = files
    captured = []
    score = detections.score
    monkeypatch.setattr(detections, "score", lambda t, r: captured.extend(deepcopy(r)) or score(t, r))
    result = evaluate_detections(embedded, truth, det)
    assert result.num_masks == 24
    assert result.style == "COCO"
    reference = COCO(str(truth))
    theirs = COCOeval(reference, reference.loadRes(captured), "segm")
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()
    ours = result.ap
    for name, value in zip(("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium"), theirs.stats, strict=False):
        assert f"{ours[name]:.3f}" == f"{value:.3f}", name
    assert 0 < ours["AP_50"] <= 1


def test_lvis_truth_is_scored_the_lvis_way(files: tuple[Path, Path], embedded: mobilesam.Predictor) -> None:
    truth, det = files
    data = json.loads(truth.read_text())
    for category, frequency in zip(data["categories"], "rf", strict=True):
        category["frequency"] = frequency
    for image in data["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    truth.write_text(json.dumps(data))
    result = evaluate_detections(embedded, truth, det)
    assert result.style == "LVIS"
    assert {"APr", "APc", "APf"} <= set(result.ap)


def test_files_that_are_something_else_are_named(files: tuple[Path, Path], embedded: mobilesam.Predictor) -> None:
    truth, det = files
    with pytest.raises(DataError, match="not a COCO detection file"):
        evaluate_detections(embedded, truth, truth)
    det.write_text("[]")
    with pytest.raises(DataError, match="image_ids match"):
        evaluate_detections(embedded, truth, det)


def test_a_box_without_area_is_a_problem_with_a_name(files: tuple[Path, Path], embedded: mobilesam.Predictor) -> None:
    truth, det = files
    found = json.loads(det.read_text())
    found[0]["bbox"] = [5, 5, 0, 0]
    det.write_text(json.dumps(found))
    result = evaluate_detections(embedded, truth, det)
    assert [problem.id for problem in result.problems] == [PhotoId("truth", "0.png")]
    assert result.num_masks == 23


def test_boxes_of_other_photos_are_counted(files: tuple[Path, Path], embedded: mobilesam.Predictor) -> None:
    truth, det = files
    found = json.loads(det.read_text())
    det.write_text(json.dumps([*found, {**found[0], "image_id": 77}]))
    result = evaluate_detections(embedded, truth, det)
    assert (result.num_boxes_elsewhere, result.num_masks) == (1, 24)
    assert result.to_dict()["num_boxes_elsewhere"] == 1
    written = json.loads(json.dumps(result.to_dict()))
    assert written["model"]["name"] == "embedded"
    assert (written["runtime"]["backend"], list(written["runtime"]["versions"])) == ("onnx", ["onnxruntime"])


def test_boxes_of_every_image_id_of_a_photo_are_answered(
    files: tuple[Path, Path], embedded: mobilesam.Predictor
) -> None:
    truth, det = files
    data, found = json.loads(truth.read_text()), json.loads(det.read_text())
    data["images"].append({**data["images"][0], "id": 77})
    truth.write_text(json.dumps(data))
    det.write_text(json.dumps([*found[:1], {**found[1], "image_id": 77}]))
    result = evaluate_detections(embedded, truth, det)
    assert (result.num_boxes_elsewhere, result.num_masks, result.problems) == (0, 2, ())


def test_a_photo_that_is_missing_is_a_problem_with_a_name(
    files: tuple[Path, Path], embedded: mobilesam.Predictor
) -> None:
    truth, det = files
    (truth.parent / "3.png").unlink()
    result = evaluate_detections(embedded, truth, det)
    assert [problem.id for problem in result.problems] == [PhotoId("truth", "3.png")]
    assert result.num_masks == 20


def test_the_verb_writes_a_report(files: tuple[Path, Path], run) -> None:
    truth, det = files
    code, out, _ = run("evaluate", "detections", truth, det, "--backend", "onnx", "-o", "ap.json")
    assert code == 0
    assert "COCO AP" in out
    written = json.loads(Path("ap.json").read_text())
    assert (written["protocol"], written["num_masks"]) == ("detections", 24)
    assert set(written["ap"]) >= {"AP_all", "AP_50"}


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [float("nan"), 1, 2, 3]},
        {"bbox": [1, 2, float("inf"), 3]},
        {"bbox": "abcd"},
        {"score": float("nan")},
        {"score": None},
        {"category_id": "dog"},
        {"image_id": [1]},
    ],
)
def test_one_broken_detection_is_named_by_its_index_and_the_others_are_measured(
    files: tuple[Path, Path], run, changes: dict[str, object]
) -> None:
    truth, det = files
    found = json.loads(det.read_text())
    found[5] |= changes
    det.write_text(json.dumps(found))
    code, out, err = run("evaluate", "detections", truth, det, "--backend", "onnx", "-o", "ap.json", "--json")
    assert code == 1
    assert "problem: det/[5]: broken detection" in err
    written = json.loads(out)
    assert written["num_masks"] == 23
    assert len(written["problems"]) == 1
    assert written["ap"]["AP_50"] > 0
    assert Path("ap.json").exists()


def test_a_report_replaces_neither_the_truth_nor_the_boxes(files: tuple[Path, Path], run) -> None:
    truth, det = files
    before = (truth.read_bytes(), det.read_bytes())
    for output in (truth, det):
        code, _, err = run("evaluate", "detections", truth, det, "-o", output, "--overwrite")
        assert (code, "would overwrite the input" in err) == (1, True)
    assert (truth.read_bytes(), det.read_bytes()) == before


def test_the_frame_of_photos_that_do_not_tell_is_an_option(files: tuple[Path, Path], run, monkeypatch) -> None:
    frames = []
    original = detections.read

    def read(*args: object, unclear_frame: str, **kwargs: object) -> object:
        frames.append(unclear_frame)
        return original(*args, unclear_frame=unclear_frame, **kwargs)

    monkeypatch.setattr(detections, "read", read)
    run("evaluate", "detections", *files, "--backend", "onnx", "--unclear-frame", "stored", "-o", "ap.json")
    assert frames == ["stored"]


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        ([[0, 0, float("inf"), 0, 1, 1]], "finite"),
        ({"size": [10**6, 10**6], "counts": "11"}, "more than"),
        ({"size": [50, 50], "counts": [2500]}, "the mask is 50x50"),
        (None, "no segmentation"),
    ],
)
def test_an_annotation_that_the_metric_would_not_survive_is_left_out_and_named(
    files: tuple[Path, Path], embedded: mobilesam.Predictor, segmentation: object, why: str
) -> None:
    truth, det = files
    data = json.loads(truth.read_text())
    data["annotations"][0]["segmentation"] = segmentation
    truth.write_text(json.dumps(data))
    report = evaluate_detections(embedded, truth, det)
    assert [problem.name for problem in report.problems if why in problem.reason] == ["annotations[0]"]
    assert 0 < next(iter(report.ap.values())) <= 1


def test_a_far_corner_of_the_truth_is_cut_off_and_text_ids_match(
    files: tuple[Path, Path], embedded: mobilesam.Predictor
) -> None:
    truth, det = files
    data = json.loads(truth.read_text())
    expected = evaluate_detections(embedded, truth, det).ap
    for image in data["images"]:
        image["id"] = str(image["id"])
    truth.write_bytes(json.dumps(data).encode("utf-8-sig"))
    assert evaluate_detections(embedded, truth, det).ap == expected
    data["annotations"][0]["segmentation"] = [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]
    truth.write_text(json.dumps(data))
    report = evaluate_detections(embedded, truth, det)
    assert report.problems == ()


@pytest.mark.parametrize("box", ["abcd", [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, None], 3])
def test_a_detection_whose_box_is_none_is_named_before_any_photo_is_opened(
    files: tuple[Path, Path], embedded: mobilesam.Predictor, box: object
) -> None:
    truth, det = files
    det.write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.5}]))
    with pytest.raises(DataError, match="is not a COCO detection file"):
        evaluate_detections(embedded, truth, det)
