from __future__ import annotations

import io
import os
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilesam.data.files import FileRef
from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.data.shapes import label_pixels
from mobilesam.errors import DataError, ImageError
from mobilesam.image import open_photo, open_stored, read_header
from mobilesam.opening import encoded
from mobilesam.opening.encoded import is_heif, is_photo_name

CASES = Path(__file__).parents[1] / "cases"
RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def encode(form: str, pixels: np.ndarray = RGB, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("claim30000.png", "too many pixels: 30000x30000"),
        ("bomb_iccp.png", "damaged"),
        ("bad.ppm", "damaged"),
        ("short.ppm", "damaged"),
        ("bad.avif", "damaged"),
    ],
)
def test_what_decoders_raise_names_the_photo_through_every_door(name: str, reason: str) -> None:
    path = CASES / name
    with pytest.raises(ImageError, match=f"{name}.*{reason}"):
        open_photo(path)
    with pytest.raises(ImageError, match=reason):
        open_stored(path.read_bytes())
    with pytest.raises(DataError, match=f"{name}.*{reason}"):
        PhotoRef(PhotoId("set", name), FileRef(str(path)), None).open()
    with pytest.raises(DataError, match=f"{name}.*{reason}"):
        label_pixels(FileRef(str(path)))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF"])
def test_changed_bytes_are_a_photo_or_an_image_error(form: str) -> None:
    whole = encode(form)
    rng = np.random.default_rng(0)
    for i in range(60):
        changed = bytearray(whole)
        for at in rng.integers(0, len(whole), 8):
            changed[at] = rng.integers(256)
        photo = bytes(changed) if i % 2 else whole[: rng.integers(len(whole))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(ImageError):
                assert open_photo(photo, max_pixels=10_000_000).shape[2] == 3


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("x"), NotImplementedError("x"), KeyError("x"), OSError()]
)
def test_any_exception_of_a_decoder_is_an_image_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(image: object) -> None:
        raise error

    data = encode("PNG")
    open_photo(data)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ImageError, match="the photo"):
        open_photo(data)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "an EPS drawing"),
        (b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\2\0\0\0\2\0\x08\0\3" + bytes(40), "a Photoshop file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00", "macOS"),
        (b"DDS |\0\0\0" + bytes(30), "not a photo"),
    ],
)
def test_other_formats_are_named_and_not_opened(start: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(start)
    with pytest.raises(ImageError, match=rf"holiday\.jpg.*{kind}"):
        open_photo(tmp_path / "holiday.jpg")


def test_the_limit_of_pixels_is_a_setting_and_pillows_stays_the_hosts() -> None:
    data, before = encode("PNG"), Image.MAX_IMAGE_PIXELS
    assert open_photo(data, max_pixels=600).shape == (20, 30, 3)
    for photo in (data, RGB, Image.fromarray(RGB)):
        with pytest.raises(ImageError, match=r"30x20.*max_pixels"):
            open_photo(photo, max_pixels=599)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("form", ["PNG", "TIFF", "GIF", "JPEG"])
def test_pillows_own_limit_is_not_asked(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.tile(RGB[..., 0], (100, 70))  # more than one strip
    data = encode(form, pixels)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600_000)  # half of it refuses, all of it warns
    assert open_photo(data, max_pixels=5_000_000).shape == (2000, 2100, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pipes_devices_and_sockets_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        for path in (tmp_path / "p.png", tmp_path / "s.png", Path("/dev/zero")):
            with pytest.raises(ImageError, match="a pipe, a device or a socket"):
                open_photo(path)
            with pytest.raises(DataError, match=r"not a file|a pipe"):
                PhotoRef(PhotoId("set", "p"), FileRef(str(path)), None).open()
            with pytest.raises(DataError):
                label_pixels(FileRef(str(path)))


@pytest.mark.parametrize("path", ["a\0.png", "a" * 300, "a" * 5000 + ".png"])
def test_impossible_paths_are_image_errors(path: str) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        open_photo(path)


def test_bytes_of_any_kind_are_opened() -> None:
    data = encode("PNG")
    for photo in (data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(open_photo(photo), RGB)


def test_heic_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "is_installed", lambda module: False)
    with pytest.raises(ImageError, match=r"HEIC photo, which needs pip install .*\[heif\]"):
        open_photo(b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf")


def test_avif_is_not_taken_for_heic() -> None:
    assert not is_heif(b"\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00mif1avif")
    assert not is_heif(encode("AVIF")[:64])


def test_heic_is_opened_without_registering_it() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(np.full((64, 96, 3), 120, np.uint8))).save(buffer, quality=-1)
    assert np.abs(open_photo(buffer.getvalue()).astype(int) - 120).max() <= 2
    assert "HEIF" not in Image.OPEN


def test_hidden_files_are_no_photos() -> None:
    names = ("a.JPG", "a.jfif", "a.mpo", "a.avif", "a.jp2", "a.heic", "a.heif", "._a.jpg", ".a.png", "a.txt", "jpg")
    assert [name for name in names if is_photo_name(name)] == list(names[:7])


def test_the_orientation_of_a_png_is_read_without_decoding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, plain = encode("PNG", exif=exif.tobytes()), encode("PNG")
    start = turned.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(turned[start : start + 4], "big")
    behind = turned[:start] + turned[stop:-12] + turned[start:stop] + turned[-12:]
    assert [read_header(data) for data in (plain, turned, behind)] == [((20, 30), 1), ((20, 30), 6), ((20, 30), 6)]
    assert open_photo(behind).shape == (30, 20, 3)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    assert [read_header(data)[1] for data in (plain, turned)] == [1, 6]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_member_of_a_tar_is_read_like_a_file_of_its_own(form: str, tmp_path: Path) -> None:
    data = encode(form)
    (tmp_path / "x").write_bytes(b"before" + data + b"behind")
    reference = FileRef(str(tmp_path / "x"), (6, len(data)))
    with reference.open() as file:
        assert file.read() == data
        assert file.seek(-3, os.SEEK_END) == len(data) - 3
        assert file.read(9) == data[-3:]
    np.testing.assert_array_equal(PhotoRef(PhotoId("x", "x"), reference, None).open(), open_photo(data))
