from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mobilesam
from mobilesam.choices import BackendName
from mobilesam.errors import ImageError, SettingsError
from mobilesam.extras import is_installed
from tests.helpers.closeness import assert_same_function

SIZES = [(97, 64), (64, 97), (300, 40), (5, 5), (120, 120)]

BACKENDS = [
    "onnx",
    pytest.param("openvino", marks=pytest.mark.skipif(not is_installed("openvino"), reason="no openvino")),
    pytest.param("torch", marks=pytest.mark.torch),
]


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    """Photos of different shapes."""
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize(size) for size in SIZES]
    return [np.asarray(photo) for photo in small]


@pytest.fixture
def tiny(tiny_lite_pair: Path) -> mobilesam.Predictor:
    """A small model, so that errors take no time."""
    return mobilesam.load(tiny_lite_pair, backend="onnx")


@pytest.mark.torch
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("pair", ["tiny_pair", "tiny_lite_pair"])
def test_photos_of_any_shape_are_embedded_in_batches_as_one_by_one(
    request: pytest.FixtureRequest, pair: str, backend: BackendName, photos: list[NDArray[np.uint8]]
) -> None:
    sam = mobilesam.load(request.getfixturevalue(pair), backend=backend)
    many = list(sam.embed_many(photos, batch_size=2))
    assert len(many) == len(photos)
    for found, photo in zip(many, photos, strict=True):
        single = sam.embed(photo)
        assert_same_function(found.array, single.array)
        assert (found.original_hw, found.input_hw) == (single.original_hw, single.input_hw)
        assert found.photo is not None
        np.testing.assert_array_equal(found.photo, photo)


def test_a_batch_of_the_embedded_model_gives_the_masks_of_one_by_one(
    embedded: mobilesam.Predictor, coffee: Path, chelsea: Path
) -> None:
    many = list(embedded.embed_many([coffee, chelsea], batch_size=2))
    for found, photo, point in zip(many, (coffee, chelsea), ((300, 180), (220, 150)), strict=True):
        mask = found.predict(points=[point]).best.array
        single = embedded.embed(photo).predict(points=[point]).best.array
        assert (mask & single).sum() / (mask | single).sum() >= 0.9999


@pytest.mark.torch
def test_a_bad_photo_is_named_by_its_index_after_the_photos_before_it(
    tiny: mobilesam.Predictor, photos: list[NDArray[np.uint8]]
) -> None:
    found: list[tuple[int, int]] = []
    with pytest.raises(ImageError, match=r"^photo 3 of embed_many: .*not-there\.jpg"):
        found.extend(e.original_hw for e in tiny.embed_many([*photos[:3], "not-there.jpg", photos[3]], batch_size=2))
    assert found == [(64, 97), (97, 64), (40, 300)]


@pytest.mark.torch
def test_photos_are_opened_as_they_are_needed(tiny: mobilesam.Predictor, photos: list[NDArray[np.uint8]]) -> None:
    asked = []

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            asked.append(1)
            yield photos[0]

    embeddings = tiny.embed_many(endless(), batch_size=3)
    next(embeddings)
    assert len(asked) == 3


@pytest.mark.torch
def test_an_embedding_does_not_keep_its_batch_in_memory(
    tiny: mobilesam.Predictor, photos: list[NDArray[np.uint8]]
) -> None:
    first = next(tiny.embed_many(photos, batch_size=5))
    assert first.array.base is None
    assert list(tiny.embed_many([])) == []


@pytest.mark.torch
def test_what_is_no_list_of_photos_or_no_batch_size_is_refused_at_the_call(tiny: mobilesam.Predictor) -> None:
    with pytest.raises(SettingsError, match="at least 1, not 0"):
        tiny.embed_many([], batch_size=0)
    with pytest.raises(ImageError, match="call embed"):
        tiny.embed_many("photo.jpg")
