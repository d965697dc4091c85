"""The side of the picture, which is a choice where the encoder takes any."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam import contract
from mobilesam.errors import ModelError, SettingsError
from mobilesam.extras import is_installed
from tests.helpers.closeness import assert_same_function, assert_same_masks

POINT = (300, 180)
Loader = Callable[..., mobilesam.Predictor]


@pytest.fixture(params=["onnx", "openvino", "torch"])
def load(request: pytest.FixtureRequest, tiny_lite_pair: Path, tiny_lite_checkpoint: Path) -> Loader:
    backend = request.param
    if not is_installed(backend.replace("onnx", "onnxruntime")):
        pytest.skip(f"{backend} is not installed")
    model = tiny_lite_checkpoint if backend == "torch" else tiny_lite_pair
    return lambda **options: mobilesam.load(model, backend=backend, **options)


@pytest.mark.torch
def test_every_backend_answers_alike_at_every_side(load: Loader, tiny_lite_checkpoint: Path, coffee: Path) -> None:
    for side in (None, 256, 288):
        ours, theirs = (make(image_size=side).embed(coffee) for make in (load, torch_loader(tiny_lite_checkpoint)))
        assert ours.array.shape[-1] == (side or 64) // 16
        assert ours.image_size == (side or 64)
        assert_same_function(ours.array, theirs.array)
        a, b = (image.predict(points=[POINT]) for image in (ours, theirs))
        assert a.masks.shape == (3, 400, 600)
        assert_same_function(a.low_res, b.low_res)
        assert_same_function(a.scores, b.scores)


@pytest.mark.torch
def test_many_prompts_at_another_side(load: Loader, coffee: Path) -> None:
    image = load(image_size=256).embed(coffee)
    points = np.random.default_rng(0).uniform((0, 0), (600, 400), (contract.MANY_PROMPTS, 1, 2))
    together = image.predict_batch(points=points)
    assert_same_function(together[5].low_res, image.predict(points=points[5]).low_res)


@pytest.mark.torch
def test_a_decoder_answers_a_photo_for_each_prompt(load: Loader, coffee: Path, chelsea: Path) -> None:
    sam = load(image_size=256)
    images = [sam.embed(photo) for photo in (coffee, chelsea)]
    coords = np.array([[[100, 80], [0, 0]], [[30, 99], [0, 0]]], np.float32)
    labels = np.array([[1, -1], [1, -1]], np.float32)
    none = (np.zeros((1, 1, 64, 64), np.float32), np.zeros(1, np.float32))
    both = sam.backend.decode(np.concatenate([i.array for i in images]), coords, labels, *none)
    for i, image in enumerate(images):
        alone = sam.backend.decode(image.array, coords[i : i + 1], labels[i : i + 1], *none)
        for found, expected in zip(both, alone, strict=True):
            assert_same_function(found[i : i + 1], expected)


@pytest.mark.torch
def test_a_side_that_the_model_cannot_take_is_refused(load: Loader, tiny_pair: Path) -> None:
    with pytest.raises(SettingsError, match="tiny_lite takes an image_size from 256 to 1024 in steps of 32, not 500"):
        load(image_size=500)
    with pytest.raises(SettingsError, match="tiny works at 64 px only, because its encoder has attention; not at 512"):
        mobilesam.load(tiny_pair, backend="onnx", image_size=512)


@pytest.mark.torch
@pytest.mark.parametrize("side", [512.0, "512", [512]])
def test_a_side_that_is_no_whole_number_is_refused_by_every_backend(load: Loader, side: object) -> None:
    message = rf"tiny_lite takes an image_size from 256 to 1024 in steps of 32, not {re.escape(repr(side))}"
    with pytest.raises(SettingsError, match=message + ", which is no whole number"):
        load(image_size=side)


@pytest.mark.torch
def test_a_whole_number_of_numpy_is_a_side(load: Loader) -> None:
    assert type(load(image_size=np.int64(512)).info.image_size) is int


def test_a_side_that_is_no_whole_number_is_refused_where_only_one_is_taken() -> None:
    with pytest.raises(SettingsError, match=r"tiny works at 64 px only.*; not at 64\.0, which is no whole number"):
        contract.check_side(64.0, 64, range(0), "tiny")


@pytest.mark.torch
def test_an_embedding_of_another_side_is_refused(load: Loader, coffee: Path, tmp_path: Path) -> None:
    load(image_size=256).embed(coffee).save(tmp_path / "coffee.embedding")
    with pytest.raises(ModelError, match=r"made at image_size 256, .* load\(\.\.\., image_size=256\)"):
        load(image_size=288).load_embedding(tmp_path / "coffee.embedding")
    again = load(image_size=256).load_embedding(tmp_path / "coffee.embedding")
    assert again.predict(points=[POINT]).masks.shape == (3, 400, 600)


@pytest.mark.torch
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_pair_of_contract_2_is_still_read(backend: str, tiny_pair: Path, coffee: Path, tmp_path: Path) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    import onnx

    for name in (contract.ENCODER_FILE, contract.DECODER_FILE):
        model = onnx.load(tiny_pair / name)
        for prop in model.metadata_props:
            if prop.key == "contract_version":
                prop.value = "2"
        if name == contract.DECODER_FILE:  # min_score had a default there
            default = onnx.numpy_helper.from_array(np.array(-np.inf, np.float32), contract.DECODER_MIN_SCORE)
            model.graph.initializer.append(default)
        onnx.save(model, tmp_path / name)
    old, new = (mobilesam.load(folder, backend=backend).embed(coffee) for folder in (tmp_path, tiny_pair))
    assert_same_function(old.predict(points=[POINT]).low_res, new.predict(points=[POINT]).low_res)
    boxes = [(30, 40, 90, 100), (300, 200, 380, 300)]  # second looks take several photos a call, which it cannot
    for a, b in zip(*(image.predict_batch(boxes=boxes, zoom=True) for image in (old, new)), strict=True):
        assert_same_masks(a.masks, b.masks)
    points = np.array([[30.0, 40.0], [500.0, 300.0]])
    best = sorted(p.scores.max() for _, p in new.predict_points(points, min_score=-np.inf))
    assert len(old.predict_points(points, min_score=float(np.mean(best)))) == 1


@pytest.mark.torch
def test_an_embedding_of_another_model_is_told_so_before_its_side(
    load: Loader, tiny_pair: Path, coffee: Path, tmp_path: Path
) -> None:
    load(image_size=256).embed(coffee).save(tmp_path / "coffee.embedding")
    with pytest.raises(ModelError, match=r"made by 'tiny_lite'.* this model is 'embedded'"):
        mobilesam.load(backend="onnx").load_embedding(tmp_path / "coffee.embedding")


@pytest.mark.torch
def test_the_card_names_the_sides(tiny_lite_pair: Path) -> None:
    card = json.loads((tiny_lite_pair / contract.CARD_FILE).read_text())
    assert card["image_sizes"] == "256-1024/32"
    assert contract.read_sides(card["image_sizes"]) == range(256, 1025, 32)


def torch_loader(path: Path) -> Loader:
    return lambda **options: mobilesam.load(path, backend="torch", **options)
