"""The notebook's widget: its Python side, and its browser side in Chromium with this Python behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilesam
from mobilesam.errors import SettingsError

pytest.importorskip("anywidget", reason="the extra notebook is not installed")

from mobilesam.widget import Clicker

PROMPTS = [
    {"points": [[290, 120]], "labels": [1], "box": None},
    {"points": [[140, 200]], "labels": [0], "box": [170, 15, 410, 310]},
]


@pytest.fixture
def clicker(embedded: mobilesam.Predictor, coffee: Path) -> Iterator[Clicker]:
    made = Clicker(coffee, embedded)
    yield made
    made.close()


@pytest.fixture
def asked(clicker: Clicker, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], tuple[Any, list[bytes]]]:
    """What the widget answers to a message of the browser."""
    sent: list[tuple[Any, list[bytes]]] = []
    monkeypatch.setattr(clicker, "send", lambda content, buffers=None: sent.append((content, buffers or [])))

    def ask(question: dict[str, Any]) -> tuple[Any, list[bytes]]:
        clicker._handle_custom_msg(question, [])
        return sent.pop()

    return ask


def test_masks_are_those_of_the_python_api(clicker: Clicker, coffee_embedding: mobilesam.ImageEmbedding) -> None:
    clicker.objects = PROMPTS
    box = coffee_embedding.predict(box=PROMPTS[1]["box"])
    finer = coffee_embedding.predict(points=[(140, 200)], labels=[0], box=PROMPTS[1]["box"], prior=box)
    assert clicker.masks == [coffee_embedding.predict(points=[(290, 120)]).best, finer.best]
    assert clicker.predictions[1] == finer
    clicker.clear()
    assert clicker.masks == []


def test_the_browser_gets_the_decoder_and_the_runtime(asked: Any) -> None:
    message, buffers = asked({"kind": "files", "id": 7})
    assert message["id"] == 7
    files = dict(zip(message["names"], buffers, strict=True))
    assert files["decoder.onnx"] == (Path(mobilesam.__file__).parent / "builtin" / "decoder.onnx").read_bytes()
    assert len(files) == 4


def test_python_encodes_the_photo_and_its_regions(
    asked: Any, embedded: mobilesam.Predictor, coffee_embedding: mobilesam.ImageEmbedding
) -> None:
    message, (whole,) = asked({"kind": "encode", "region": None, "id": 1})
    assert np.array_equal(np.frombuffer(whole, np.float32).reshape(message["shape"]), coffee_embedding.array)
    message, (part,) = asked({"kind": "encode", "region": [100, 50, 400, 350], "id": 2})
    cut = embedded.embed(coffee_embedding.photo[50:350, 100:400]).array
    assert np.allclose(np.frombuffer(part, np.float32).reshape(message["shape"]), cut, atol=1e-4)
    message, nothing = asked({"kind": "encode", "region": [0, 0, 900, 10], "id": 3})
    assert "outside" in message["error"]
    assert not nothing


def test_a_model_that_a_browser_cannot_run_is_refused(coffee: Path) -> None:
    with pytest.raises(SettingsError, match="backend='onnx'"):
        Clicker(coffee, mobilesam.Predictor(object()))
