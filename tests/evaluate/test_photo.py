from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mobilesam import masks
from mobilesam.data import shapes
from mobilesam.data.files import FileRef
from mobilesam.data.photo import Annotation, ObjectRef, PhotoId, PhotoRef
from mobilesam.data.shapes import PixelShape, RleShape
from mobilesam.evaluate import photo as photo_module
from mobilesam.evaluate.photo import Images, Models, TrueMask, ask, evaluate_photo, load_models, read_objects, to_row
from mobilesam.evaluate.protocols import Answer
from mobilesam.evaluate.records import EvaluatedPhoto
from mobilesam.evaluate.run import run
from mobilesam.evaluate.settings import EvaluateSettings
from tests.helpers import oracle
from tests.helpers.scenes import add_member, draw_scene


def test_objects_are_chosen_by_area_and_the_rest_counted(settings: EvaluateSettings, tmp_path: Path) -> None:
    results, _ = run(replace(settings, protocols=("box",), max_objects=1), tmp_path / "j")
    assert [len(result.rows) for result in results] == [1] * 12
    assert {result.left_out for result in results} == {1}
    results, _ = run(replace(settings, protocols=("box",), min_area=10**6), tmp_path / "k")
    assert not any(result.rows for result in results)


def test_problems_are_named_and_counted(settings: EvaluateSettings, tmp_path: Path) -> None:
    rgb, objects = draw_scene(np.random.default_rng(0))
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG")
    wrong_size = {"id": 9, "segmentation": masks.to_rle(np.ones((5, 5), bool))}
    good = {"id": 1, "segmentation": masks.to_rle(objects[0])}
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name, jpg, record in (
            ("good", buffer.getvalue(), {"annotations": [good, wrong_size]}),
            ("broken_photo", b"no photo", {"annotations": [good]}),
            ("broken_json", buffer.getvalue(), {}),
        ):
            add_member(tar, f"{name}.jpg", jpg)
            add_member(tar, f"{name}.json", json.dumps(record).encode())
        add_member(tar, "no_record.jpg", buffer.getvalue())
    results, _ = run(replace(settings, data=(str(tmp_path / "s.tar"),), protocols=("box",)), tmp_path / "j")
    problems = [problem for result in results for problem in result.problems]
    assert [problem.id for problem in problems] == [
        PhotoId("s", name) for name in ("good", "broken_photo", "broken_json", "no_record")
    ]
    assert "good/9" in problems[0].reason
    assert "5x5" in problems[0].reason
    assert [result.is_read for result in results] == [True, False, False, False]
    assert [len(result.rows) for result in results] == [1, 0, 0, 0]


def test_a_model_agrees_with_itself(settings: EvaluateSettings, tmp_path: Path) -> None:
    itself = replace(settings, protocols=("teacher",), teacher="embedded", image_size=None, zoom="auto")
    results, _ = run(itself, tmp_path / "j")
    assert {row.iou for result in results for row in result.rows} == {1.0}


def test_random_draws_depend_on_protocol_and_object_alone() -> None:
    """Published numbers rest on these draws: the seed is the CRC-32 of "protocol/object", no data set in it."""
    images = Images(oracle.ask(oracle.square()), None)
    truth = TrueMask("photo/7", oracle.square(), None)
    answer = ask("box-jitter", truth, images, "auto")
    assert answer is not None
    assert answer.box == (18.996257724979515, 15.252182853646417, 42.515181980488975, 40.84274340755422)
    assert ask("box-jitter", truth, images, "auto").box == answer.box
    assert ask("box-jitter", replace(truth, id="photo/8"), images, "auto").box != answer.box


def test_questions_that_a_protocol_cannot_ask_are_counted_as_left_out(
    settings: EvaluateSettings, tmp_path: Path
) -> None:
    models = load_models(settings)
    small = replace(settings, protocols=("box", "two-point"), teacher="embedded", max_objects=1)
    results, _ = run(small, tmp_path / "j", models=replace(models, teacher=models.student))
    # 96 px photos have no pixel 100 px away in most places: one object of two is dropped, and that question too.
    assert {len(result.rows) + result.left_out - 1 for result in results} == {2}
    assert any(result.left_out == 2 for result in results)


def test_the_iou_of_a_row_is_the_mean_over_its_distances() -> None:
    answer = Answer(oracle.square(), None, iou_by_distance={100: 0.5, 200: 1.0}, against=oracle.square())
    row = to_row("two-point", PhotoId("d", "p"), "s", TrueMask("p/1", oracle.square(), None), answer)
    assert row.iou == 0.75


def test_ignored_pixels_do_not_count_against_another_model() -> None:
    ignored = oracle.square()
    truth = TrueMask("p/1", oracle.square(), ignored)
    other = oracle.square(x=28)
    assert to_row("teacher", PhotoId("d", "p"), "s", truth, Answer(oracle.square(), None, against=other)).iou < 1
    assert to_row("box", PhotoId("d", "p"), "s", truth, Answer(oracle.square(), None)).iou == 1


def test_every_result_is_read_back_from_json_as_it_was(settings: EvaluateSettings, tmp_path: Path) -> None:
    results, _ = run(settings, tmp_path / "j")
    for result in results:
        assert EvaluatedPhoto.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def squares(count: int, hw: tuple[int, int]) -> Annotation:
    """Objects of growing size."""
    objects = []
    for i in range(count):
        mask = np.zeros(hw, bool)
        mask[: 10 + i, : 10 + i] = True
        objects.append(ObjectRef(f"p/{i}", RleShape(masks.to_rle(mask))))
    return Annotation("test", tuple(objects))


def test_the_masks_of_a_photo_are_not_in_memory_all_at_once(
    settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hw = (1000, 1000)
    annotation = squares(60, hw)
    asked: list[str] = []

    class Student:
        original_hw = hw

    def answer(protocol: str, truth: TrueMask, images: Images, zoom: object) -> Answer:
        asked.append(truth.id)
        assert truth.mask.shape == hw
        return Answer(truth.mask, 1.0)

    monkeypatch.setattr(photo_module, "embed", lambda models, photo: Images(Student(), None))
    monkeypatch.setattr(photo_module, "ask", answer)
    monkeypatch.setattr(photo_module, "boundary_iou", lambda *_: 1.0)
    monkeypatch.setattr(PhotoRef, "annotation", lambda self: annotation)
    photo = PhotoRef(PhotoId("d", "p"), FileRef("p"), None)
    tracemalloc.start()
    result = evaluate_photo(Models(None, None), photo, replace(settings, protocols=("box",), max_objects=5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert asked == [f"p/{i}" for i in range(55, 60)]
    assert (len(result.rows), result.left_out) == (5, 55)
    assert peak < 20e6, "60 masks of a megapixel are 60 MB"


def test_a_label_picture_is_decoded_once_for_the_objects_of_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.repeat(np.arange(20, dtype=np.uint8), 30).reshape(20, 30)
    Image.fromarray(labels).save(tmp_path / "a.png")
    objects = [ObjectRef(f"p/{i}", PixelShape(FileRef(str(tmp_path / "a.png")), i, 3)) for i in range(1, 20)]
    calls = []
    read = shapes.label_pixels
    monkeypatch.setattr(shapes, "label_pixels", lambda file: calls.append(1) or read(file))
    found, problems = read_objects(PhotoId("d", "p"), Annotation("s", tuple(objects)), (20, 30))
    assert problems == []
    assert len(calls) == 1
    for i, one in enumerate(found, 1):
        np.testing.assert_array_equal(one.decode().mask, labels == i)
        np.testing.assert_array_equal(one.decode().ignored, labels == 3)
    _, problems = read_objects(PhotoId("d", "p"), Annotation("s", tuple(objects)), (40, 60))
    assert "object p/1: the mask is 30x20, the photo 60x40" in problems[0].reason


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("Insufficient memory")])
def test_a_photo_that_uses_up_the_memory_is_a_problem_of_its_own(
    settings: EvaluateSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    original = photo_module.ask

    def failing(protocol: str, truth: TrueMask, images: Images, zoom: object) -> Answer | None:
        if truth.id.startswith("photo_03/"):
            raise error
        return original(protocol, truth, images, zoom)

    monkeypatch.setattr(photo_module, "ask", failing)
    results, _ = run(replace(settings, protocols=("box",)), tmp_path / "j")
    assert [result.photo.path for result in results if not result.is_read] == ["photo_03"]
    assert "memory" in results[3].problems[0].reason
