"""Each Python example, run as a user runs it but in this process."""

from __future__ import annotations

import json
import runpy
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mobilesam
from mobilesam import masks
from mobilesam.masks import to_rle
from tests.helpers.scenes import draw_scene

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTED = (
    "folder",
    "detector_boxes",
    "correct",
    "embeddings",
    "everything_to_coco",
    "fine_tune",
    "evaluate",
    "call_service",
)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run an example in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with suppress(SystemExit):  # an example that failed has not written what its test looks for
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A COCO file of three synthetic photos, which lie in images/ beside it."""
    (tmp_path / "images").mkdir()
    images, annotations, rng = [], [], np.random.default_rng(0)
    for number in range(1, 4):
        rgb, objects = draw_scene(rng)
        rgb, objects = rgb.repeat(2, 0).repeat(2, 1), [mask.repeat(2, 0).repeat(2, 1) for mask in objects]
        Image.fromarray(rgb).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 192, "height": 192})
        for mask in objects:
            one = mobilesam.Mask(to_rle(mask), 1.0)
            annotations.append(one.to_coco(id=len(annotations) + 1, image_id=number))
    path = tmp_path / "data.json"
    categories = [{"id": 1, "name": "object"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_a_folder_of_photos_gets_all_its_masks(example: Any, tmp_path: Path, chelsea: Path) -> None:
    (tmp_path / "photos").mkdir()
    with Image.open(chelsea) as photo:
        photo.save(tmp_path / "photos" / "cat.jpg")
    said = example("folder", "photos", "out")
    assert "masks:" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"cat.json", "cat_labels.png", "cat_overlay.jpg"}


def test_boxes_of_a_detector_become_coco_masks(
    example: Any, tmp_path: Path, coffee: Path, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    found = [("cup", 0.9, [170, 15, 240, 295]), ("spoon", 0.8, [325, 65, 100, 262]), ("unsure", 0.2, [0, 0, 9, 9])]
    detections = [{"category": name, "score": score, "bbox": box} for name, score, box in found]
    (tmp_path / "boxes.json").write_text(json.dumps(detections))
    example("detector_boxes", coffee, "boxes.json", "masks.json")
    coco = json.loads((tmp_path / "masks.json").read_text())
    assert [one["name"] for one in coco["categories"]] == ["cup", "spoon"]
    cup = coffee_embedding.predict(box=(170, 15, 410, 310)).best.array
    assert iou(masks.from_rle(coco["annotations"][0]["segmentation"]), cup) > 0.99


def iou(a: Any, b: Any) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_clicks_correct_a_mask(example: Any, tmp_path: Path) -> None:
    said = example("correct", "cup.png")
    areas = [int(line.split("area=")[1].split(",")[0]) for line in said.splitlines()]
    assert len(areas) == 3
    assert len(set(areas)) == 3  # each click changed the mask
    with Image.open(tmp_path / "cup.png") as cut:
        assert cut.mode == "RGBA"


def test_an_embedding_is_prompted_after_it_was_saved(example: Any, tmp_path: Path, coffee: Path) -> None:
    assert "Mask(600x400" in example("embeddings", coffee, "coffee.embedding")
    assert (tmp_path / "coffee.embedding").stat().st_size < 2**21


def test_all_masks_of_photos_become_one_coco_file(example: Any, tmp_path: Path, coffee: Path, chelsea: Path) -> None:
    example("everything_to_coco", "masks.json", coffee, chelsea)
    coco = json.loads((tmp_path / "masks.json").read_text())
    assert [one["id"] for one in coco["images"]] == [1, 2]
    assert [one["id"] for one in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
    assert {one["image_id"] for one in coco["annotations"]} == {1, 2}


@pytest.mark.torch
def test_a_model_is_fine_tuned_on_a_coco_file(example: Any, tmp_path: Path, data: Path) -> None:
    said = example("fine_tune", "run", data, "images", "2")
    assert "wrote" in said
    assert list((tmp_path / "run").glob("*.safetensors"))


def test_a_model_is_evaluated_on_a_coco_file(example: Any, data: Path) -> None:
    said = example("evaluate", data, "images")
    assert [line.split(":")[0] for line in said.splitlines()] == ["box", "click"]
    assert "6 objects" in said
    assert float(said.split("mean IoU ")[1].split()[0]) > 0.8  # boxes around a disc and a square


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a service in a thread of this process."""
    for name in ("fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(name, reason="the extra serve is not installed")
    import uvicorn

    from mobilesam.serve.app import create_app
    from mobilesam.serve.settings import ServeSettings

    app = create_app(ServeSettings(), mobilesam.load(backend="onnx"))
    # Without its own logging: setting that up closes older handlers, and absl's closes pytest's standard error.
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_the_service_is_called_with_the_standard_library(
    example: Any, service: str, coffee: Path, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    said = example("call_service", service, coffee).splitlines()
    assert len(said) == 3
    assert f"-> {coffee_embedding.predict(box=(170, 15, 410, 310)).best.area} pixels" in said[2]


@pytest.mark.parametrize("name", TESTED)
def test_every_example_is_short_says_how_to_run_it_and_is_listed(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert f"python examples/{name}.py" in text.split('"""')[1]
    assert len(text.splitlines()) <= 35
    assert f"(../examples/{name}.py)" in (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
