"""Predictors and embeddings in other processes (spawn, Ray, Dask) and as copies."""

from __future__ import annotations

import copy
import json
import multiprocessing
import operator
import pickle
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import ModelError
from mobilesam.extras import is_installed
from mobilesam.predict.pair import reopen
from mobilesam.weights import MODELS, pair_folder
from tests.helpers.closeness import assert_same_function
from tests.helpers.stored import opened

POINT = (290, 120)


@pytest.fixture(params=["onnx", "openvino", "torch"])
def sam(request: pytest.FixtureRequest) -> mobilesam.Predictor:
    if not is_installed(request.param.replace("onnx", "onnxruntime")):
        pytest.skip(f"{request.param} is not installed")
    return mobilesam.load(backend=request.param, image_size=256)


def test_a_spawned_process_answers_as_this_one(sam: mobilesam.Predictor, coffee: Path) -> None:
    image = sam.embed(coffee)
    here = image.predict(points=[POINT])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(operator.methodcaller("predict", points=[POINT]), (image,))
        embedded_there = pool.apply(operator.methodcaller("embed", coffee), (sam,))
    assert_same_function(there.low_res, here.low_res)
    assert_same_function(embedded_there.array, image.array)
    assert embedded_there.backend.info == sam.info
    assert_same_function(embedded_there.predict(points=[POINT]).low_res, here.low_res)
    np.testing.assert_array_equal(embedded_there.photo, image.photo)


def test_copies_answer_alike(sam: mobilesam.Predictor, coffee: Path) -> None:
    image = sam.embed(coffee)
    before = image.predict(points=[POINT]).low_res
    for copied in (copy.copy(image), copy.deepcopy(image), pickle.loads(pickle.dumps(image))):
        assert_same_function(copied.predict(points=[POINT]).low_res, before)
    for again in (copy.copy(sam), copy.deepcopy(sam), pickle.loads(pickle.dumps(sam))):
        assert again.info == sam.info
        assert type(again.backend) is type(sam.backend)


def test_options_are_kept_and_weights_stay_where_they_are() -> None:
    sam = mobilesam.load(backend="onnx", threads=1, quick_start=True, image_size=320)
    data = pickle.dumps(sam)
    assert len(data) < 2000
    again = pickle.loads(data)
    assert again.info == sam.info
    for name in ("_threads", "_quick_start", "_device"):
        assert getattr(again.backend, name) == getattr(sam.backend, name)


def test_many_embeddings_of_one_model_share_it(embedded: mobilesam.Predictor, coffee: Path) -> None:
    data = [pickle.dumps(embedded.embed(coffee)) for _ in range(2)]
    first, second = map(pickle.loads, data)
    assert first.backend is second.backend


def test_a_folder_that_is_gone_or_holds_another_model_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(pair_folder(MODELS["embedded"]), folder)
    sam = mobilesam.load(folder, backend="onnx")
    data = pickle.dumps(sam).replace(b"embedded", b"of_tests")  # as if it had been another model's
    with pytest.raises(ModelError, match=r"holds 'embedded'.*load the model again"):
        pickle.loads(data)
    shutil.rmtree(folder)
    reopen.cache_clear()
    with pytest.raises(ModelError, match="does not exist"):
        pickle.loads(pickle.dumps(sam))


@pytest.mark.parametrize("then", ["float32", "mixed"])
def test_a_folder_that_holds_the_same_model_in_other_numbers_is_named(then: str, tmp_path: Path) -> None:
    data = pickle.dumps(opened(tmp_path / "m", "int8", image_size=256))
    reopen.cache_clear()
    assert pickle.loads(data).info.image_size == 256
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps({**card, "precision": then}))
    reopen.cache_clear()
    with pytest.raises(ModelError, match=r"holds 'embedded' in other numbers now.*load the model again"):
        pickle.loads(data)


def test_a_backend_that_cannot_be_sent_says_what_to_do(embedded: mobilesam.Predictor, coffee: Path) -> None:
    class Foreign:
        def __init__(self) -> None:
            self.info = embedded.info
            self.lock = threading.Lock()

    for held in (mobilesam.Predictor(Foreign()), mobilesam.ImageEmbedding(Foreign(), np.zeros(1), (1, 1), (1, 1))):
        with pytest.raises(ModelError, match=r"Foreign cannot be pickled.*load the model in the other process"):
            pickle.dumps(held)
