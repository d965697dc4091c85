"""Every verb that reads many photos: a damaged one is named and counted, the others are done, the exit code is 1."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam import boxes, masks
from tests.helpers.scenes import draw_scene, save_picture

needs_coco_eval = pytest.mark.skipif(not find_spec("faster_coco_eval"), reason="the extra eval is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A COCO data set of a good photo and a damaged one, with a detector's boxes."""
    images, annotations = [], []
    for i, name in enumerate(("good.png", "bad.png")):
        rgb, (disc, _) = draw_scene(np.random.default_rng(i))
        save_picture(tmp_path / "in" / name, rgb)
        images.append({"id": i, "file_name": name, "height": 96, "width": 96})
        box = list(boxes.xyxy_to_xywh(boxes.from_mask(disc)))
        shared = {"image_id": i, "category_id": 1, "bbox": box}
        annotations.append(
            {**shared, "id": i + 1, "segmentation": masks.to_rle(disc), "area": int(disc.sum()), "iscrowd": 0}
        )
    bad = tmp_path / "in" / "bad.png"
    bad.write_bytes(bad.read_bytes()[:500])
    record = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "truth.json").write_text(json.dumps(record))
    found = [{key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5} for one in annotations]
    (tmp_path / "boxes.json").write_text(json.dumps(found))
    return tmp_path


VERBS = {
    "segment": ("segment", "in", "--box", "5,5,80,80", "-o", "out"),
    "everything": ("everything", "in", "-o", "all", "--points-per-side", "2"),
    "annotate": ("annotate", "in", "-o", "run", "--workers", "1", "--set", "points_per_side=2"),
    "evaluate": ("evaluate", "truth.json", "--images", "in", "-p", "box", "-o", "r.json"),
    "detections": ("evaluate", "detections", "truth.json", "boxes.json", "--images", "in", "-o", "r.json"),
}
RESULTS = {
    "segment": "out/good_mask.png",
    "everything": "all/good.json",
    "annotate": "run/report.json",
    "evaluate": "r.json",
    "detections": "r.json",
}


@pytest.mark.parametrize(
    "verb", [*(v for v in VERBS if v != "detections"), pytest.param("detections", marks=needs_coco_eval)]
)
def test_one_bad_photo_is_named_the_good_one_is_done_and_the_exit_code_is_1(run, folder: Path, verb: str) -> None:
    code, out, err = run(*VERBS[verb])
    assert code == 1, err
    assert (folder / RESULTS[verb]).is_file(), out + err
    named = (folder / "run" / "errors.jsonl").read_text() if verb == "annotate" else err
    assert "bad.png" in named
    assert "good.png" not in named
    assert "1" in out + err
    # Mended, the same verb ends well.
    Image.new("RGB", (96, 96), "red").save(folder / "in" / "bad.png")
    again = [word.replace("run", "run2") if word == "run" else word for word in VERBS[verb]]
    assert run(*again)[0] == 0
