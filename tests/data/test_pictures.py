from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data import pictures, shapes
from mobilesam.data.files import FileRef
from mobilesam.data.pictures import Pictures, runs_by_value
from mobilesam.data.shapes import PixelShape
from mobilesam.errors import DataError
from mobilesam.masks import from_rle, to_rle


@pytest.mark.parametrize("kind", [np.uint8, np.int32])
@pytest.mark.parametrize("hw", [(1, 1), (1, 9), (7, 1), (23, 31)])
def test_each_value_of_a_label_picture_has_the_run_lengths_of_its_mask(kind: type, hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for most in (1, 2, 5, 256):
        labels = rng.integers(0, most, hw).astype(kind)
        found = runs_by_value(labels)
        assert sorted(found) == np.unique(labels).tolist()
        for value, rle in found.items():
            assert rle == to_rle(labels == value)


def test_noise_is_no_label_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (20, 30)).astype(np.uint8)
    monkeypatch.setattr(pictures, "MAX_RUNS", 100)
    with pytest.raises(DataError, match="runs is noise; at most 100"):
        runs_by_value(labels)


def test_a_label_picture_is_decoded_once_for_all_its_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat(np.arange(6, dtype=np.uint8), 4).reshape(4, 6) * 40
    labels[0, 0] = 255
    Image.fromarray(labels).save(tmp_path / "a.png")
    calls = []
    read = shapes.label_pixels
    monkeypatch.setattr(shapes, "label_pixels", lambda file: calls.append(1) or read(file))
    cache = Pictures()
    for value in (0, 40, 80, 120, 160, 200, 255, 7):
        shape = PixelShape(FileRef(str(tmp_path / "a.png")), value, 255)
        np.testing.assert_array_equal(from_rle(cache.rle(shape, labels.shape)), labels == value)
        np.testing.assert_array_equal(from_rle(cache.ignored(shape)), labels == 255)
    assert len(calls) == 1


def test_a_mask_of_one_object_has_its_band_that_does_not_count(tmp_path: Path) -> None:
    labels = np.array([[0, 128, 255], [255, 0, 7]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.png")
    shape, cache = PixelShape(FileRef(str(tmp_path / "a.png")), None, 128), Pictures()
    np.testing.assert_array_equal(from_rle(cache.rle(shape, (2, 3))), labels == 255)
    np.testing.assert_array_equal(from_rle(cache.ignored(shape)), labels == 128)
    assert cache.ignored(PixelShape(shape.file)) is None
