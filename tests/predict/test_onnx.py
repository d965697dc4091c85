"""The runtime onnxruntime: what its versions do differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.predict.onnx import OnnxBackend
from mobilesam.weights import MODELS, pair_folder

POINTS = np.array([(290.0, 120.0), (110.0, 250.0)])


class NoEmptyArrays:
    """A session of onnxruntime before 1.32, which fails where no prompt passes."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
        answers = self.session.run(outputs, feed)
        if not len(answers[0]):
            raise RuntimeError("left operand cannot broadcast")
        return list(answers)


@pytest.fixture
def old_image(coffee_embedding: mobilesam.ImageEmbedding) -> mobilesam.ImageEmbedding:
    backend = OnnxBackend(pair_folder(MODELS["embedded"]), threads=1)
    backend._decoder = NoEmptyArrays(backend._decoder)
    return mobilesam.Predictor(backend).embed(coffee_embedding.photo)


def test_no_sure_prompt_gives_no_mask_where_onnxruntime_fails_on_empty_arrays(
    old_image: mobilesam.ImageEmbedding,
) -> None:
    assert old_image.predict_points(POINTS, min_score=2.0) == []
    assert len(old_image.predict_points(POINTS, min_score=0.0)) == 2


def test_any_other_failure_is_not_hidden(old_image: mobilesam.ImageEmbedding, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(NoEmptyArrays, "run", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        old_image.predict_points(POINTS, min_score=2.0)
