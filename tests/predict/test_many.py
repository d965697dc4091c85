"""The decoder for many prompts, which a backend opens when they come."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam import contract
from mobilesam.errors import ModelError
from tests.helpers.closeness import assert_same_function

BUILTIN = Path(mobilesam.__file__).parent / "builtin"
POINTS = np.random.default_rng(0).uniform((0, 0), (600, 400), (contract.MANY_PROMPTS + 3, 2))

pytestmark = pytest.mark.parametrize(
    "backend",
    ["onnx", pytest.param("openvino", marks=pytest.mark.skipif(not find_spec("openvino"), reason="not installed"))],
)


def load(folder: Path, backend: str) -> mobilesam.Predictor:
    return mobilesam.load(folder, backend=backend, threads=1)


def copy(folder: Path, *left_out: str) -> Path:
    for file in BUILTIN.glob("*.onnx"):
        if file.name not in left_out:
            shutil.copy(file, folder)
    return folder


def test_many_prompts_are_answered_as_a_few_are(backend: str, coffee: Path) -> None:
    image = load(BUILTIN, backend).embed(coffee)
    together = image.predict_batch(points=POINTS[:, None], multimask=True)
    for one, point in zip(together, POINTS, strict=True):
        alone = image.predict(points=[point], multimask=True)
        assert_same_function(one.low_res, alone.low_res)
        assert_same_function(one.scores, alone.scores)


def test_no_prompt_is_sure_enough(backend: str, coffee: Path) -> None:
    assert load(BUILTIN, backend).embed(coffee).predict_points(POINTS, min_score=2.0) == []


def test_a_click_does_not_open_it_and_many_prompts_do(backend: str, coffee: Path, tmp_path: Path) -> None:
    (copy(tmp_path) / contract.MANY_FILE).write_bytes(b"broken")
    image = load(tmp_path, backend).embed(coffee)
    assert len(image.predict(points=[(290, 120)])) == 3
    with pytest.raises(ModelError, match=r"decoder_many\.onnx is damaged"):
        image.predict_points(POINTS, min_score=0.0)


def test_threads_that_come_at_once_open_it_once(backend: str, coffee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = load(BUILTIN, backend).embed(coffee)
    opened: list[str] = []
    really_open = type(image.backend)._open  # type: ignore[attr-defined]

    def open_slowly(self: Any, path: Path, grid: int | None) -> Any:
        opened.append(path.name)
        time.sleep(0.2)
        return really_open(self, path, grid)

    monkeypatch.setattr(type(image.backend), "_open", open_slowly)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: image.predict_points(POINTS, min_score=0.3), range(8)))
    assert opened == [contract.MANY_FILE]
    assert all([i for i, _ in answer] == [i for i, _ in answers[0]] for answer in answers)


def test_a_folder_without_it_answers_too(backend: str, coffee: Path, tmp_path: Path) -> None:
    image = load(copy(tmp_path, contract.MANY_FILE), backend).embed(coffee)
    with_it = load(BUILTIN, backend).embed(coffee).predict_points(POINTS, min_score=0.3)
    without = image.predict_points(POINTS, min_score=0.3)
    assert [i for i, _ in without] == [i for i, _ in with_it]
    assert without


def test_another_decoder_beside_it_is_refused(backend: str, coffee: Path, tmp_path: Path) -> None:
    decoder = copy(tmp_path) / contract.DECODER_FILE
    content = decoder.read_bytes()
    decoder.write_bytes(content + b"\xfa\x01\x02hi")  # an unknown field, which readers skip
    image = load(tmp_path, backend).embed(coffee)
    with pytest.raises(ModelError, match=r"exported with another decoder\.onnx"):
        image.predict_points(POINTS, min_score=0.0)
