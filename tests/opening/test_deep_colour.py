from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from mobilesam.errors import ImageError
from mobilesam.image import open_photo
from mobilesam.opening import deep_colour
from mobilesam.opening.decoders import box_bits
from tests.helpers.deep import png_grey_alpha, said

HW = (240, 320)
RAMP = np.linspace(0, 4095, HW[0] * HW[1]).round().astype(np.uint16).reshape(HW)
TWELVE = np.stack([RAMP, RAMP[::-1], RAMP // 2], axis=-1)
SEEN = np.zeros(HW, bool)
SEEN[20:200, 30:300] = True


def encode(colours: np.ndarray, alpha: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, np.dstack([colours[..., ::-1], alpha]))[1].tobytes()


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.asarray(255 - share * (255 - colours))


LIMIT = HW[0] * HW[1] * 7 // 6  # of memory for one reading, and not for two
ALPHA = np.where(SEEN, 65535, 0).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_with_transparency_are_shown_and_a_range_has_its_effect(suffix: str) -> None:
    file = encode(TWELVE, ALPHA, suffix)
    black, white = np.percentile(TWELVE[SEEN], (0.5, 99.5))
    expected = np.round(np.clip((TWELVE.astype(float) - black) / (white - black), 0, 1) * 255)
    np.testing.assert_array_equal(open_photo(file), np.where(SEEN[..., None], expected, 255))
    with said() as messages:
        shown = open_photo(file, value_range=(1000, 3000))
    expected = np.round(np.clip((TWELVE - 1000.0) / 2000, 0, 1) * 255)
    np.testing.assert_array_equal(shown, np.where(SEEN[..., None], expected, 255))
    assert messages == []


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_full_sixteen_bits_with_transparency_keep_their_upper_eight(suffix: str) -> None:
    full, half = (TWELVE * 16).astype(np.uint16), np.where(SEEN, 65535, 32768).astype(np.uint16)
    expected = on_white(full >> 8, half >> 8)
    assert np.abs(open_photo(encode(full, half, suffix)) - expected).max() <= 0.5


def test_hidden_colours_do_not_decide_whether_a_photo_is_dark() -> None:
    hidden = np.where(SEEN[..., None], TWELVE, 65535).astype(np.uint16)
    shown = open_photo(encode(hidden, ALPHA, ".png"), value_range=None)
    assert shown[SEEN].max() > 200


def test_a_photo_with_transparency_takes_no_more_memory_than_the_limit() -> None:
    file = encode(TWELVE, ALPHA, ".png")
    with said() as messages:
        shown = open_photo(file, value_range=(1000, 3000), max_pixels=LIMIT)
    np.testing.assert_array_equal(shown[SEEN], TWELVE[SEEN] >> 8)
    assert [message.split()[0] for message in messages] == ["WARNING"]
    assert "has no effect" in messages[0]
    np.testing.assert_array_equal(open_photo(file, max_pixels=LIMIT), shown)


def test_that_a_range_has_no_effect_is_said_once() -> None:
    file = png_grey_alpha(np.dstack([RAMP * 16, ALPHA]))
    with said() as messages:
        plain = open_photo(file)
        assert messages == []
        for _ in range(2):
            np.testing.assert_array_equal(open_photo(file, value_range=(0, 4095)), plain)
    assert [message.split()[0] for message in messages] == ["WARNING", "INFO"]
    assert "value_range (--range) has no effect" in messages[0]


def test_eight_bits_are_never_scaled_and_need_no_message(coffee) -> None:
    with said() as messages:
        open_photo(coffee, value_range=(0, 100))
    assert messages == []


def test_a_photo_that_is_cut_off_in_the_second_reading_is_an_image_error() -> None:
    file = encode(TWELVE, ALPHA, ".png")
    with pytest.raises(ImageError, match="damaged or truncated"):
        open_photo(file[: len(file) // 2], value_range=(0, 4095))


@pytest.mark.parametrize("is_deep", [False, True])
def test_the_bits_of_a_heic_are_read_from_its_header(is_deep: bool) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    mode, kind = ("RGB;16", np.uint16) if is_deep else ("RGB", np.uint8)
    pixels = np.full((64, 64, 3), 90, kind)
    pillow_heif.encode(mode, (64, 64), pixels.tobytes(), file)
    with said() as messages:
        open_photo(file.getvalue(), value_range=(0, 4095))
    assert len(messages) == is_deep


@pytest.mark.parametrize(
    ("head", "bits"),
    [
        (b"pixi\0\0\0\0\3\x0a\x0a\x0a....", 10),
        (b"pixi\0\0\0\0\1\x08......", 8),
        (b"av1C\x81\x00\x4c\0....", 10),
        (b"av1C\x81\x00\x6c\0....", 12),
        (b"av1C\x81\x00\x0c\0....", 8),
        (b"hvcC" + bytes(17) + b"\xfa....", 10),
        (b"nothing", 8),
    ],
)
def test_the_bits_of_a_container_are_read_from_its_boxes(head: bytes, bits: int, monkeypatch) -> None:
    monkeypatch.setattr("mobilesam.opening.decoders.head_of", lambda image, size=0: b"ftyp" + head)
    assert box_bits(None) == bits  # type: ignore[arg-type]


def test_colours_with_one_hot_pixel_stay_as_they_are_and_it_is_said() -> None:
    hot = TWELVE.copy()
    hot[5, 5] = 65535
    with said() as messages:
        shown = open_photo(cv2.imencode(".png", hot[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(shown, hot >> 8)
    assert len(messages) == 1
    assert "dark" in messages[0]
    assert "--range" in messages[0]
    with said() as messages:
        open_photo(cv2.imencode(".png", hot * 16)[1].tobytes())
    assert messages == []
    assert set(deep_colour.LOWER.values()) <= set(deep_colour.LOWER)


def test_a_photo_that_is_transparent_everywhere_is_white() -> None:
    assert (open_photo(encode(TWELVE, np.zeros(HW, np.uint16), ".png"), value_range=(0, 4095)) == 255).all()


def test_a_range_that_has_no_effect_on_an_avif_of_ten_bits_is_said() -> None:
    done, file = cv2.imencode(".avif", TWELVE // 4, [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_SPEED, 10])
    if not done:
        pytest.skip("this OpenCV writes no AVIF")
    with said() as messages:
        open_photo(file.tobytes(), value_range=(0, 500))
    assert len(messages) == 1
