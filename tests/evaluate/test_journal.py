"""What an interrupted evaluation takes over from its journal, and what it does again."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam import masks
from mobilesam.evaluate import run as run_module
from mobilesam.evaluate.journal import identify
from mobilesam.evaluate.photo import Models, load_models
from mobilesam.evaluate.records import EvaluatedPhoto
from mobilesam.evaluate.run import run
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.predict.backend import Backend
from mobilesam.predict.predictor import Predictor
from mobilesam.weights import get_spec, pair_folder
from tests.helpers.scenes import draw_scene, save_picture, write_shard
from tests.helpers.stored import opened


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the photos that were evaluated."""
    paths: list[str] = []
    original = run_module.evaluate_photo

    def noted(models: Models, photo: object, settings: EvaluateSettings) -> EvaluatedPhoto:
        result = original(models, photo, settings)
        paths.append(result.photo.path)
        return result

    monkeypatch.setattr(run_module, "evaluate_photo", noted)
    return paths


class OtherWeights:
    """A backend whose weights are others, as far as their identity tells."""

    def __init__(self, backend: Backend, sha256: str) -> None:
        self.backend, self.info = backend, replace(backend.info, weights_sha256=sha256)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


def set_weights(models: Models, role: str, sha256: str) -> Models:
    """The models, one of them with other weights."""
    other = OtherWeights(getattr(models, role).backend, sha256)
    return replace(models, **{role: Predictor(other)})


@pytest.fixture
def boxes(tmp_path: Path) -> EvaluateSettings:
    """Three photos in a folder, each with its record."""
    rng = np.random.default_rng(0)
    for name in "abc":
        rgb, objects = draw_scene(rng)
        save_picture(tmp_path / "d" / f"{name}.jpg", rgb)
        records = [{"id": i, "segmentation": masks.to_rle(mask)} for i, mask in enumerate(objects)]
        (tmp_path / "d" / f"{name}.json").write_text(json.dumps({"annotations": records}))
    return EvaluateSettings(data=(str(tmp_path / "d"),), protocols=("box",), backend="onnx", image_size=256, zoom=False)


def test_what_has_not_changed_is_not_done_again(boxes: EvaluateSettings, tmp_path: Path, asked: list[str]) -> None:
    first, _ = run(boxes, tmp_path / "j")
    assert run(boxes, tmp_path / "j")[0] == first
    assert asked == ["a", "b", "c"]


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_results_of_other_weights_under_the_same_path_are_made_again(
    boxes: EvaluateSettings, tmp_path: Path, asked: list[str], role: str
) -> None:
    compared = replace(boxes, protocols=("box", "teacher"), teacher="embedded")
    for sha256, count in (("1" * 64, 3), ("1" * 64, 3), ("2" * 64, 6)):
        run(compared, tmp_path / "j", models=set_weights(load_models(compared), role, sha256))
        assert len(asked) == count


def test_files_of_other_precision_in_an_exported_folder_are_another_model(
    boxes: EvaluateSettings, tmp_path: Path
) -> None:
    shutil.copytree(pair_folder(get_spec("embedded")), tmp_path / "pair")
    exported = replace(boxes, model=str(tmp_path / "pair"))
    models = load_models(exported)
    before = identify(exported, models)
    assert identify(exported, models) == before
    card = json.loads((tmp_path / "pair" / "model.json").read_text())
    card["sha256"] = {**card["sha256"], "encoder.onnx": "0" * 64}
    (tmp_path / "pair" / "model.json").write_text(json.dumps(card))
    assert identify(exported, models) != before


def test_files_of_other_precision_are_another_model_also_where_no_folder_is_named(
    boxes: EvaluateSettings, tmp_path: Path
) -> None:
    named = replace(boxes, model="hf://owner/name")  # which lies in the Hub's cache
    fine, coarse = (Models(opened(tmp_path / precision, precision), None) for precision in ("float32", "int8"))
    assert identify(named, fine) != identify(named, coarse)


def test_another_precision_on_this_processor_than_the_one_asked_for_is_another_run(
    boxes: EvaluateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = load_models(boxes)
    asked = replace(boxes, precision="bfloat16", backend="openvino")
    instead = identify(asked, models)
    monkeypatch.setattr(models.student.backend, "precision", "bfloat16", raising=False)
    assert identify(asked, models) != instead


def test_an_edited_photo_or_label_is_done_again_and_the_others_are_not(
    boxes: EvaluateSettings, tmp_path: Path, asked: list[str]
) -> None:
    first, _ = run(boxes, tmp_path / "j")
    label, photo = tmp_path / "d" / "a.json", tmp_path / "d" / "b.jpg"
    record = json.loads(label.read_text())
    del record["annotations"][1]
    label.write_text(json.dumps(record))
    shutil.copy(tmp_path / "d" / "c.jpg", photo)
    asked.clear()
    second, _ = run(boxes, tmp_path / "j")
    assert asked == ["a", "b"]
    assert [len(result.rows) for result in second] == [1, 2, 2]
    assert second[1] != first[1]
    assert second[2] == first[2]
    assert run(boxes, tmp_path / "whole")[0] == second


def test_photos_of_a_tar_that_was_written_again_are_done_again(
    boxes: EvaluateSettings, tmp_path: Path, asked: list[str]
) -> None:
    tars = replace(boxes, data=(str(tmp_path / "*.tar"),))
    for name in "xy":
        write_shard(tmp_path / f"{name}.tar", 2)
    run(tars, tmp_path / "j")
    asked.clear()
    before = (tmp_path / "y.tar").stat()
    write_shard(tmp_path / "y.tar", 2, seed=3)
    os.utime(tmp_path / "y.tar", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    results, _ = run(tars, tmp_path / "j")
    assert asked == ["photo_00", "photo_01"]
    assert [result.photo.dataset for result in results] == ["x", "x", "y", "y"]
    with tarfile.open(tmp_path / "y.tar") as tar:
        assert len(tar.getmembers()) == 4


def test_a_photo_that_was_changed_during_the_run_is_done_again_in_the_next(
    boxes: EvaluateSettings, tmp_path: Path, asked: list[str]
) -> None:
    def edit(result: EvaluatedPhoto) -> None:
        if result.photo.path == "a":
            shutil.copy(tmp_path / "d" / "a.jpg", tmp_path / "d" / "b.jpg")

    run(boxes, tmp_path / "j", on_result=edit)
    asked.clear()
    run(boxes, tmp_path / "j")
    assert asked == ["b"]


def test_a_photo_that_is_gone_keeps_no_result(boxes: EvaluateSettings, tmp_path: Path) -> None:
    run(boxes, tmp_path / "j")
    (tmp_path / "d" / "b.jpg").unlink()
    results, _ = run(boxes, tmp_path / "j")
    assert [(result.photo.path, result.is_read) for result in results] == [("a", True), ("c", True), ("b", False)]
    assert "an annotation without a photo" in results[2].problems[0].reason
