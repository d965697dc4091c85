from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.errors import ImageError, SettingsError
from mobilesam.image import PhotoLike, open_photo
from mobilesam.opening import tones
from tests.helpers.deep import said

RNG = np.random.default_rng(0)
Y, X = np.mgrid[:240, :320]
DISC = (X - 160) ** 2 + (Y - 120) ** 2 <= 60**2
GREY = np.clip(np.where(DISC, 150, 70) + RNG.normal(0, 6, DISC.shape), 0, 255)
"""A disc of 150 on 70 in 8 bits, as floats."""


def tiff(pixels: np.ndarray, tags: dict[int, object] | None = None) -> bytes:
    info = ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        info[tag] = value
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", tiffinfo=info)
    return buffer.getvalue()


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def grey(photo: PhotoLike, **options: Any) -> np.ndarray:
    rgb = open_photo(photo, **options)
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def expect_percentiles(values: np.ndarray) -> np.ndarray:
    black, white = np.percentile(values[np.isfinite(values)], (0.5, 99.5))
    return np.round(np.clip((np.nan_to_num(values.astype(float), nan=black) - black) / (white - black), 0, 1) * 255)


def test_full_sixteen_bits_are_unchanged_to_the_bit() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.round(every.astype(np.float32) / 257)
    for photo in (every, png(every), tiff(every), tiff(every.astype(np.int32)), every.astype(np.int64)):
        np.testing.assert_array_equal(grey(photo), expected)
    high = (GREY * 257).astype(np.uint16)
    np.testing.assert_array_equal(grey(png(high)), np.round(high.astype(np.float32) / 257))


def test_floats_in_the_unit_range_are_unchanged_to_the_bit() -> None:
    values = RNG.random((50, 60)).astype(np.float32)
    expected = np.round(values * 255).astype(np.uint8)
    for photo in (values, tiff(values), np.repeat(values[..., None], 3, axis=2)):
        np.testing.assert_array_equal(grey(photo), expected)
    np.testing.assert_array_equal(grey(np.array([[0.5, 1.0]])), [[128, 255]])


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_a_container_of_sixteen_are_shown_by_percentiles(bits: int) -> None:
    deep = (GREY * 2 ** (bits - 8)).astype(np.uint16)
    expected = expect_percentiles(deep)
    assert expected[DISC].mean() - expected[~DISC].mean() > 120
    for photo in (deep, png(deep), tiff(deep), tiff(deep.astype(np.int32))):
        np.testing.assert_array_equal(grey(photo), expected)


def test_a_click_finds_the_object_at_any_depth(embedded) -> None:
    eight, twelve = GREY.astype(np.uint8), (GREY * 16).astype(np.uint16)
    for photo in (eight, twelve):
        mask = embedded.embed(photo).predict(points=[(160, 120)]).best.array
        assert (mask & DISC).sum() / (mask | DISC).sum() > 0.9


def test_bits_per_sample_of_the_file_say_the_range() -> None:
    deep = (GREY * 16).astype(np.uint16)
    low, mid = deep >> 8, deep >> 4  # two samples of 12 bits in three bytes
    even, odd = deep[:, ::2], deep[:, 1::2]
    packed = np.stack([even >> 4, ((even & 15) << 4) | (odd >> 8), odd & 255], axis=-1).astype(np.uint8)
    assert low.max() < 16
    assert mid.max() < 256
    head = {256: 320, 257: 240, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 240, 279: packed.size}
    info = b"".join(
        t.to_bytes(2, "little") + b"\x04\0\1\0\0\0" + v.to_bytes(4, "little") for t, v in sorted(head.items())
    )
    offset = 8 + packed.size
    file = (
        b"II*\0" + offset.to_bytes(4, "little") + packed.tobytes() + len(head).to_bytes(2, "little") + info + bytes(4)
    )
    np.testing.assert_array_equal(grey(file), np.round(deep / 4095 * 255))


@pytest.mark.parametrize(
    "tags",
    [
        {340: 1000, 341: 3000},
        {280: 1000, 281: 3000},
        {270: "ImageJ=1.53t\nmin=1000.0\nmax=3000.0\n"},
        {270: "ImageJ=1.53t\nmin=1000.0\nmax=3000.0\n", 280: 0, 281: 65535},
    ],
)
def test_the_range_that_the_file_states_is_used(tags: dict[int, object]) -> None:
    deep = (GREY * 16).astype(np.uint16)
    np.testing.assert_array_equal(grey(tiff(deep, tags)), np.round(np.clip((deep - 1000.0) / 2000, 0, 1) * 255))


def test_a_stated_range_without_any_value_of_the_photo_is_not_believed() -> None:
    deep = (GREY * 16).astype(np.uint16)
    np.testing.assert_array_equal(grey(tiff(deep, {340: 0, 341: 1})), expect_percentiles(deep))


def test_hounsfield_units_and_heights_are_shown() -> None:
    ct = (GREY * 20 - 1024).astype(np.int32)
    for photo in (ct, tiff(ct), ct.astype(np.int16), ct.astype(np.float32), tiff(ct.astype(np.float32))):
        np.testing.assert_array_equal(grey(photo), expect_percentiles(ct))


def test_what_is_no_number_is_black() -> None:
    heights = (GREY + 800).astype(np.float32)
    heights[:5], heights[5], heights[6] = np.nan, np.inf, -np.inf
    shown = grey(tiff(heights))
    assert (shown[:5] == 0).all()
    assert (shown[5] == 255).all()
    assert (shown[6] == 0).all()
    np.testing.assert_array_equal(shown[7:], expect_percentiles(heights)[7:])
    unit = np.array([[0.2, np.nan]], np.float32)
    np.testing.assert_array_equal(grey(unit), [[51, 0]])
    with pytest.raises(ImageError, match="no finite value"):
        open_photo(np.full((3, 3), np.nan))


def test_the_no_data_value_of_a_map_does_not_count() -> None:
    heights = (GREY + 800).astype(np.float32)
    heights[:40] = -9999
    shown = grey(tiff(heights, {42113: "-9999"}))
    assert (shown[:40] == 0).all()
    assert shown[DISC].mean() - shown[40:][~DISC[40:]].mean() > 120


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colour_of_twelve_bits_in_sixteen_is_shown_and_full_sixteen_bits_keep_their_upper_eight(suffix: str) -> None:
    colour = np.stack([GREY, 255 - GREY, GREY / 2], axis=-1)
    twelve, full = (colour * 16).astype(np.uint16), (colour * 256).astype(np.uint16)

    def encode(pixels: np.ndarray) -> bytes:
        return cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes()

    np.testing.assert_array_equal(open_photo(encode(twelve)), expect_percentiles(twelve))
    np.testing.assert_array_equal(open_photo(encode(full)), full >> 8)
    expected = np.round(np.clip((twelve - 1000.0) / 2000, 0, 1) * 255)
    np.testing.assert_array_equal(open_photo(encode(twelve), value_range=(1000, 3000)), expected)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_a_range_that_is_given_wins_in_every_reader(kind: type, tmp_path: Path) -> None:
    deep = (GREY * 16).astype(kind)
    expected = np.round(np.clip((deep.astype(float) - 1000) / 2000, 0, 1) * 255)
    np.testing.assert_array_equal(grey(deep, value_range=(1000, 3000)), expected)
    (tmp_path / "a.tif").write_bytes(tiff(deep, {340: 5, 341: 6}))
    np.testing.assert_array_equal(grey(tmp_path / "a.tif", value_range=(1000, 3000)), expected)
    ref = PhotoRef(PhotoId("set", "a"), FileRef(str(tmp_path / "a.tif")), None)
    np.testing.assert_array_equal(replace(ref, value_range=(1000, 3000)).open()[..., 0], expected)
    np.testing.assert_array_equal(ref.open(), open_photo(tmp_path / "a.tif"))


def test_eight_bits_are_never_scaled() -> None:
    rgb = RNG.integers(0, 100, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(open_photo(rgb, value_range=(50, 60)), rgb)
    np.testing.assert_array_equal(grey(rgb[..., 0].astype(np.uint16)), rgb[..., 0])
    np.testing.assert_array_equal(grey(rgb[..., 0].astype(np.float32)), rgb[..., 0])


@pytest.mark.parametrize("value_range", [(1, 1), (2, 1), (0, float("nan")), (0, float("inf")), (1,), ("a", "b"), 3])
def test_an_impossible_range_is_refused(value_range: object) -> None:
    with pytest.raises(SettingsError, match="value_range"):
        open_photo(GREY, value_range=value_range)  # type: ignore[arg-type]


def test_extreme_values_do_not_overflow() -> None:
    wide = np.array([[-1.7e308, 0, 1.7e308]])
    np.testing.assert_array_equal(grey(wide, value_range=(-1.7e308, 1.7e308)), [[0, 128, 255]])


def test_large_photos_are_sampled_on_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = (np.add.outer(np.arange(700), np.arange(1000)) + 300).astype(np.uint16)  # three strips
    monkeypatch.setattr(tones, "SAMPLE", 50_000)
    black, white = np.percentile(deep[::4, ::4], (0.5, 99.5))
    np.testing.assert_array_equal(grey(deep), np.round(np.clip((deep - black) / (white - black), 0, 1) * 255))


def test_what_was_chosen_is_said_once_as_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A handler of its own: whether caplog sees each message once depends on what tests before this one called.
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    monkeypatch.setattr(tones.log, "handlers", [handler])
    before = tones.log.level
    tones.log.setLevel(logging.INFO)
    tones._was_said.clear()
    (tmp_path / "ct.tif").write_bytes(tiff((GREY * 20 - 1024).astype(np.int32)))
    open_photo(tmp_path / "ct.tif")
    open_photo(tmp_path / "ct.tif")
    open_photo((GREY * 257).astype(np.uint16))
    tones.log.setLevel(before)
    assert [record.levelname for record in records] == ["WARNING", "INFO"]
    assert "ct.tif" in records[0].getMessage()
    assert "--range" in records[0].getMessage()


def test_dark_floats_are_shown_by_percentiles_and_others_in_the_unit_range() -> None:
    reflectance = (GREY / 255 * 0.05).astype(np.float32)
    with said() as messages:
        shown = grey(tiff(reflectance))
    np.testing.assert_array_equal(shown, expect_percentiles(reflectance))
    assert len(messages) == 1
    constant = np.full((5, 6), 0.1, np.float32)
    np.testing.assert_array_equal(grey(constant), 26)
    bright = reflectance.copy()
    bright[0, 0] = 0.26
    np.testing.assert_array_equal(grey(bright), np.round(bright * 255))


@pytest.mark.parametrize("outlier", [65535, 20000])
def test_one_hot_pixel_changes_nothing_but_it_is_said_that_the_photo_is_dark(outlier: int) -> None:
    deep = (GREY * 16).astype(np.uint16)
    deep[3, 3] = outlier
    with said() as messages:
        shown = grey(png(deep))
    np.testing.assert_array_equal(shown, np.round(deep.astype(np.float32) / 257))
    (message,) = messages
    assert "so that it is dark" in message
    assert "--range" in message


def test_a_photo_of_full_range_is_shown_without_a_word() -> None:
    with said() as messages:
        grey(png((GREY * 257).astype(np.uint16)))
        grey((GREY / 255).astype(np.float32))
        grey(np.full((4, 5), 7000, np.uint16))
        grey(GREY.astype(np.float32))
    assert messages == []


def test_a_photo_whose_only_numbers_lie_off_the_grid_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tones, "SAMPLE", 4)
    values = np.full((40, 40), np.nan)
    values[3, 3], values[3, 5] = -5, 5
    assert grey(values)[3, 5] == 255
    values[3, 3] = 0.5
    values[3, 5] = 0.9
    assert grey(values)[3, 5] == 230
