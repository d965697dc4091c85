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


SOFT = np.array([[0, 0.5, 0.9], [1, np.nan, 0], [-2, 1e-9, np.inf]], np.float32)
"""Floating-point values whose object is every finite one but 0."""


def test_a_mask_of_floating_point_values_is_all_that_is_not_zero(tmp_path: Path) -> None:
    Image.fromarray(SOFT).save(tmp_path / "a.tif")
    mask = PixelShape(FileRef(str(tmp_path / "a.tif"))).mask((3, 3))
    np.testing.assert_array_equal(mask, np.isfinite(SOFT) & (SOFT != 0))


@pytest.mark.parametrize("ignore", [128, 1])
def test_floating_point_values_keep_the_band_that_does_not_count(tmp_path: Path, ignore: int) -> None:
    values = [[0, ignore, 255, 0.5, 7, np.nan]]
    Image.fromarray(np.array(values, np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(np.nan_to_num(np.array(values)).astype(np.uint8)).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):  # one rule for both: 255 alone is the object
        shape = PixelShape(FileRef(str(tmp_path / name)), None, ignore)
        band = shape.ignored()
        assert band is not None
        assert np.flatnonzero(shape.mask((1, 6))).tolist() == [2], name
        assert np.flatnonzero(band).tolist() == [1], name


def test_labels_of_floating_point_values_are_whole_numbers_or_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 70000]], np.float32)).save(tmp_path / "a.tif")
    assert shapes.label_pixels(FileRef(str(tmp_path / "a.tif"))).tolist() == [[0, 1, 70000]]
    for wrong in (0.5, np.nan, np.inf, 1e30, -1e10):
        Image.fromarray(np.array([[0, 1, wrong]], np.float32)).save(tmp_path / "b.tif")
        with pytest.raises(DataError, match=r"b\.tif: labels are whole numbers, found .*; save it with 8 or 16 bits"):
            shapes.label_pixels(FileRef(str(tmp_path / "b.tif")))


def test_a_palette_with_an_opaque_channel_is_read_as_one_without(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    indexed.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    indexed.save(tmp_path / "p.tif")
    indexed.convert("PA").save(tmp_path / "pa.tif")
    with Image.open(tmp_path / "pa.tif") as image:
        assert image.mode == "PA"
    for read in (shapes.label_pixels, shapes.object_pixels):
        without, opaque = (read(FileRef(str(tmp_path / name))) for name in ("p.tif", "pa.tif"))
        np.testing.assert_array_equal(opaque, without)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "LA", "CMYK"])
def test_the_object_of_a_picture_of_other_modes_is_all_that_is_not_black(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(np.array([[0, 1, 200]], np.uint8))
    picture = grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)
    if mode == "I;16B":
        picture = Image.fromarray(np.array([[0, 1, 200]], ">u2"))
    picture.save(tmp_path / "a.tif")
    file = FileRef(str(tmp_path / "a.tif"))
    assert PixelShape(file).mask((1, 3)).tolist() == [[False, True, True]]
    assert shapes.label_pixels(file).tolist() == [[0, 1, 200]]
