from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.contract import PIXEL_MEAN, PIXEL_STD
from mobilesam.errors import ImageError
from mobilesam.image import input_size, open_photo, resize_long_side, scale_points, to_input


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_path_bytes_pil_and_array_give_the_same_photo(rgb: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(rgb)
    path = tmp_path / "photo.png"
    image.save(path)
    for photo in (path, str(path), path.read_bytes(), image, rgb):
        np.testing.assert_array_equal(open_photo(photo), rgb)


def test_exif_orientation_is_applied(rgb: np.ndarray) -> None:
    image = Image.fromarray(rgb)
    exif = image.getexif()
    exif[0x0112] = 6  # turned a quarter
    opened = open_photo(encode(image, exif=exif.tobytes()))
    np.testing.assert_array_equal(opened, np.rot90(rgb, -1))


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_mode_becomes_rgb(rgb: np.ndarray, mode: str) -> None:
    opened = open_photo(Image.fromarray(rgb).convert(mode))
    assert opened.shape == (20, 30, 3)
    assert opened.dtype == np.uint8
    if mode in ("CMYK", "RGBA"):
        assert np.abs(opened.astype(int) - rgb).max() <= 2


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    for photo in (rgba, Image.fromarray(rgba), encode(Image.fromarray(rgba))):
        opened = open_photo(photo)
        assert opened[0, 0].tolist() == [10, 20, 30]
        assert opened[3, 3].tolist() == [255, 255, 255]


def test_sixteen_bits_keep_their_brightness() -> None:
    deep = np.full((5, 6), 32896, np.uint16)  # 128 * 257
    for photo in (deep, encode(Image.fromarray(deep))):
        assert open_photo(photo).tolist() == np.full((5, 6, 3), 128).tolist()


def test_floating_point_is_0_to_1_or_0_to_255() -> None:
    assert open_photo(np.full((2, 2, 3), 0.5)).max() == 128
    assert open_photo(np.full((2, 2, 3), 200.0)).max() == 200


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        ("no/such.jpg", "does not exist"),
        ("https://example.org/dog.jpg", "download the photo first"),
        (b"plain text", "not a photo"),
        (b"", "not a photo"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC|damaged"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((3, 4, 3), np.complex64), "complex64"),
    ],
)
def test_what_is_no_photo_says_so(photo: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_photo(photo)  # type: ignore[arg-type]


def test_a_truncated_photo_says_so(rgb: np.ndarray) -> None:
    data = encode(Image.fromarray(rgb), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        open_photo(data[: len(data) // 2])


def test_a_folder_is_not_a_photo(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="folder"):
        open_photo(tmp_path)


@pytest.mark.parametrize("photo", ["coffee", "chelsea"])
def test_resizing_and_normalising_equal_the_references(photo: str) -> None:
    here = Path(__file__).parent
    with np.load(here / "golden" / "vit_t.npz") as golden:
        expected, input_hw = golden[f"{photo}/input_sub"], tuple(golden[f"{photo}/input_hw"])
    rgb = open_photo(here.parent / "examples" / f"{photo}.png")
    pixels = to_input(rgb, 1024)[0]
    assert pixels.shape[1:] == input_hw
    padded = np.zeros((3, 1024, 1024), np.float32)
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (PIXEL_MEAN, PIXEL_STD))
    padded[:, : input_hw[0], : input_hw[1]] = (pixels - mean) / std
    np.testing.assert_allclose(padded[:, ::32, ::32], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("original", "expected"), [((400, 600), (683, 1024)), ((300, 451), (681, 1024)), ((5000, 10), (1024, 2))]
)
def test_the_long_side_becomes_the_image_size(original: tuple[int, int], expected: tuple[int, int]) -> None:
    assert input_size(original, 1024) == expected


def test_a_photo_of_the_right_size_is_not_resampled(rgb: np.ndarray) -> None:
    np.testing.assert_array_equal(resize_long_side(rgb, 30), rgb)


def test_to_input_is_planar_float_in_0_255(rgb: np.ndarray) -> None:
    array = to_input(rgb, 60)
    assert array.shape == (1, 3, 40, 60)
    assert array.dtype == np.float32
    assert array.max() > 200


def test_points_scale_by_the_rounded_input_size() -> None:
    scaled = scale_points(np.array([[600, 400], [300, 0]], np.float32), (400, 600), (683, 1024))
    np.testing.assert_allclose(scaled, [[1024, 683], [512, 0]])
