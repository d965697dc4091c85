from __future__ import annotations

import gc
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from benchmarks import photo_memory
from mobilesam.errors import ImageError
from mobilesam.image import open_photo, open_stored
from mobilesam.opening.decoders import av1_planes, bytes_per_pixel, is_progressive
from mobilesam.opening.encoded import opened
from mobilesam.opening.lean import on_white, read_lean
from mobilesam.opening.pixels import turn
from tests.helpers.children import in_child

PEAK = """
import sys
from mobilesam.image import open_photo
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
open_photo(sys.argv[2])
before = peak()
height, width, _ = open_photo(sys.argv[1]).shape
print((peak() - before) / (height * width))
"""


def draw(mode: str, side: int) -> Image.Image:
    if mode in ("I;16", "I", "F"):
        kind, unit = {"I;16": (np.uint16, 1), "I": (np.int32, 9), "F": (np.float32, 1)}[mode]
        return Image.fromarray((np.add.outer(np.arange(side), np.arange(side)) * unit).astype(kind))
    ramp = Image.linear_gradient("L").resize((side, side))
    return ramp.convert("RGB").convert("P") if mode == "P" else ramp.convert(mode)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("mode", "suffix", "orientation"),
    [
        ("RGBA", "png", 1),
        ("RGB", "jpg", 6),
        ("RGB", "png", 1),
        ("LA", "png", 1),
        ("I;16", "png", 1),
        ("1", "png", 1),
        ("P", "gif", 1),
        ("F", "tif", 1),
        ("I", "tif", 1),
        ("RGB", "tif", 1),
    ],
)
def test_an_open_photo_takes_six_bytes_a_pixel(tmp_path: Path, mode: str, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, side in (("large", 4000), ("small", 64)):
        extra: dict[str, Any] = {"exif": exif.tobytes()} if orientation != 1 else {}
        draw(mode, side).save(tmp_path / f"{name}.{suffix}", **extra)
    command = [sys.executable, "-c", PEAK, *(str(tmp_path / f"{name}.{suffix}") for name in ("large", "small"))]
    taken = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert taken < 7  # 16 million pixels: 6 bytes each, and 16 MB for strips and samples


def test_alpha_on_white_is_rounded_as_it_always_was() -> None:
    colour, alpha = (a.ravel().astype(np.uint8) for a in np.mgrid[:256, :256])
    rgba = np.stack([colour, colour[::-1], colour, alpha], axis=-1)[None]
    part = rgba[..., 3:].astype(np.float32) / 255
    expected = np.round(rgba[..., :3] * part + 255 * (1 - part)).astype(np.uint8)
    np.testing.assert_array_equal(on_white(rgba), expected)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "GIF"])
def test_strips_give_what_pillow_gives_for_the_whole(mode: str, form: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (700, 900, 4)).astype(np.uint8))  # three strips
    image = (image if mode in ("RGBA", "LA") else image.convert("RGB")).convert(mode)
    buffer = io.BytesIO()
    try:
        image.save(buffer, form)
    except (OSError, ValueError):
        pytest.skip(f"{form} has no {mode}")
    with Image.open(buffer) as whole:
        if whole.mode in ("RGBA", "LA") or "transparency" in whole.info:
            expected = on_white(np.asarray(whole.convert("RGBA")))
        else:
            expected = np.asarray(whole.convert("RGB"))
    opened = open_photo(buffer.getvalue())
    np.testing.assert_array_equal(opened, expected)
    assert opened.flags.c_contiguous


def test_a_callers_image_is_not_changed() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 4)).astype(np.uint8))
    before = image.tobytes()
    open_photo(image)
    assert image.tobytes() == before


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_each_orientation_is_turned_as_pillow_turns_it(form: str, orientation: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 10, 3)).astype(np.uint8)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(buffer, form, exif=exif if form == "TIFF" else exif.tobytes())
    plain = io.BytesIO()
    Image.fromarray(rgb).save(plain, form)
    stored, found = open_stored(buffer.getvalue())
    assert found == orientation
    np.testing.assert_array_equal(stored, open_photo(plain.getvalue()))
    with Image.open(buffer) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(open_photo(buffer.getvalue()), upright)
    np.testing.assert_array_equal(turn(stored, orientation), upright)


def test_a_jpeg_is_decoded_smaller_only_where_that_was_asked_for() -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((1600, 1200)).convert("RGB").save(buffer, "JPEG")
    assert open_photo(buffer.getvalue()).shape == (1200, 1600, 3)
    assert open_photo(buffer.getvalue(), max_side=512).shape == (600, 800, 3)
    assert open_photo(buffer.getvalue(), max_side=1601).shape == (1200, 1600, 3)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("channels", [3, 4])
def test_an_avif_has_the_pixels_that_pillow_decodes(coffee: Path, channels: int) -> None:
    pixels = np.asarray(Image.open(coffee).convert("RGB"))
    if channels == 4:
        pixels = np.dstack([pixels, np.arange(pixels.shape[1])[None].repeat(len(pixels), 0).astype(np.uint8)])
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(file, "AVIF", speed=10, exif=exif)
    reference = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue()))))
    np.testing.assert_array_equal(open_photo(file.getvalue()), open_photo(reference))


def webp(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{"quality": 60}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_webp_has_the_pixels_that_pillow_decodes(coffee: Path, channels: int, options: dict[str, Any]) -> None:
    pixels = np.asarray(Image.open(coffee).convert("RGB"))
    if channels == 4:
        pixels = np.dstack([pixels, np.arange(pixels.shape[1])[None].repeat(len(pixels), 0).astype(np.uint8)])
    data = webp(pixels, **options)
    reference = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(open_photo(data), open_photo(reference))


def test_a_webp_that_is_cut_off_is_refused_and_an_animated_one_gives_its_first_picture(coffee: Path) -> None:
    pixels = np.asarray(Image.open(coffee).convert("RGB"))
    data = webp(pixels)
    with pytest.raises(ImageError):
        open_photo(data[: len(data) // 2])
    other = Image.fromarray(255 - pixels)
    first, *_ = (open_photo(webp(pixels, save_all=True, append_images=more, lossless=True)) for more in ([other], []))
    np.testing.assert_array_equal(first, pixels)


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
def test_a_large_webp_takes_six_bytes_a_pixel(tmp_path: Path) -> None:
    for name, side in (("small", 64), ("large", 5000)):
        (tmp_path / name).write_bytes(webp(np.full((side, side, 3), 90, np.uint8), method=0))
    code = "from mobilesam.image import open_photo\nopen_photo({!r})"
    small, large = (int(in_child(code.format(str(tmp_path / n)))[-1].split()[1]) for n in ("small", "large"))
    assert (large - small) * 1e6 < 7 * 5000**2


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("hw", [(1, 1), (7, 9), (33, 17), (241, 320)])
def test_a_progressive_jpeg_gives_pillows_pixels(tmp_path: Path, hw: tuple[int, int], subsampling: int) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "p.jpg"
    Image.fromarray(rgb).save(path, progressive=True, subsampling=subsampling, exif=exif.tobytes())
    with Image.open(path) as image:
        assert is_progressive(image)
        expected = np.asarray(image)
    found, orientation = open_stored(path)
    assert orientation == 6
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(open_photo(path), np.rot90(expected, -1))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ImageError, match="truncated"):
        open_photo(path)


def test_a_progressive_jpeg_is_reduced_and_in_cmyk_as_others(tmp_path: Path) -> None:
    grey = Image.linear_gradient("L").resize((800, 600))
    grey.convert("RGB").save(tmp_path / "a.jpg", progressive=True)
    assert open_photo(tmp_path / "a.jpg", max_side=100).shape == (75, 100, 3)
    grey.convert("CMYK").save(tmp_path / "b.jpg", progressive=True)
    assert open_photo(tmp_path / "b.jpg").shape == (600, 800, 3)


@pytest.mark.parametrize(
    ("name", "options", "at_least", "below"),
    [
        ("a.jpg", {}, 6, 6.1),
        ("a.jpg", {"progressive": True}, 6, 6.1),
        ("a.jpg", {"progressive": True, "subsampling": 0}, 9, 9.1),
        ("a.png", {}, 6, 6.1),
        ("a.webp", {"lossless": True}, 9, 9.1),
        ("a.avif", {}, 8.2, 8.3),
        ("a.avif", {"subsampling": "4:4:4"}, 10.4, 10.6),
        ("a.jp2", {}, 16, 16.1),
        ("a.jp2", {"tile_size": (64, 64)}, 6, 7),
        ("a.tif", {"compression": "tiff_deflate"}, 6, 6.1),
        ("a.tif", {"compression": "tiff_deflate", "tiffinfo": {278: 300}}, 7, 7.1),
        ("plain.ppm", {}, 10, 10.1),
    ],
)
def test_a_decoder_that_needs_more_memory_counts_against_the_limit(
    tmp_path: Path, name: str, options: dict[str, Any], at_least: float, below: float
) -> None:
    ramp = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    if name == "plain.ppm":
        (tmp_path / name).write_bytes(b"P3 400 300 255\n" + b"1 " * (400 * 300 * 3))
    else:
        ramp.save(tmp_path / name, **options)
    with opened(tmp_path / name, "the photo") as image:
        each = bytes_per_pixel(image)
        assert at_least <= each < below
    needed = int(400 * 300 * each / 6) + 1
    assert open_photo(tmp_path / name, max_pixels=needed).shape == (300, 400, 3)
    for limit in (needed - 10, 400 * 300) if each > 6 else (400 * 300 - 1,):
        with pytest.raises(ImageError, match="GB: 400x300 pixels of" if each > 6 else "too many pixels"):
            open_photo(tmp_path / name, max_pixels=limit)


def deep(suffix: str, path: Path, largest: int, side: int = 300) -> np.ndarray:
    values = (np.add.outer(np.arange(side), np.arange(side))[..., None] * np.array([1, 2, 3])).astype(np.float64)
    bgr = np.round(values / values.max() * largest).astype(np.uint16)
    assert cv2.imwrite(str(path / f"deep{suffix}"), bgr)
    return bgr[..., ::-1]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_dark_colours_of_16_bits_are_scaled_in_their_own_memory(tmp_path: Path, suffix: str) -> None:
    rgb = deep(suffix, tmp_path, 4095, side=601)
    black, white = np.percentile(rgb, (0.5, 99.5))
    expected = np.round(np.clip((rgb - black) / (white - black), 0, 1) * 255)
    found = open_photo(tmp_path / f"deep{suffix}")
    assert np.abs(found - expected).max() <= 1
    given = open_photo(tmp_path / f"deep{suffix}", value_range=(0, 4095))
    np.testing.assert_array_equal(given, np.round(rgb / 4095 * 255))
    assert given.flags.writeable


@pytest.mark.parametrize("magic", [b"P5", b"P6"])
def test_a_ppm_says_its_white_and_a_given_range_is_in_its_own_values(magic: bytes) -> None:
    values = (np.arange(12) * 300).astype(">u2")
    data = magic + b" 2 2 4095\n" + values[: 12 if magic == b"P6" else 4].tobytes()
    found, given = open_photo(data), open_photo(data, value_range=(0, 600))
    rgb = values.reshape(2, 2, 3) if magic == b"P6" else values[:4].reshape(2, 2, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(found, np.round(rgb / 4095 * 255))
    np.testing.assert_array_equal(given, np.round(np.minimum(rgb / 600, 1) * 255))
    with pytest.raises(ImageError, match="fewer values than pixels"):
        open_photo(data[:-1])


@pytest.mark.parametrize("largest", [1, 7, 100, 254, 256, 1023, 65535])
def test_a_ppm_of_any_largest_value_has_the_pixels_that_pillow_decodes(largest: int) -> None:
    dtype = np.dtype(np.uint8 if largest < 256 else ">u2")
    values = np.linspace(0, min(largest * 1.2, 65535 if dtype.itemsize == 2 else 255), 6 * 7 * 3).astype(dtype)
    data = b"P6 7 6 %d\n" % largest + values.tobytes()
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(open_photo(data), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("options", [{}, {"irreversible": True}, {"no_jp2": True}, {"tile_size": (40, 40)}])
def test_a_jpeg_2000_has_the_pixels_that_pillow_decodes(coffee: Path, mode: str, options: dict[str, Any]) -> None:
    image = Image.open(coffee).convert(mode)
    if mode == "RGBA":
        image.putalpha(image.getchannel(0))
    file = io.BytesIO()
    image.save(file, "JPEG2000", **options)
    reference = np.asarray(Image.open(io.BytesIO(file.getvalue())))
    difference = np.abs(open_photo(file.getvalue()).astype(int) - open_photo(reference))
    assert difference.max() <= (1 if "irreversible" in options else 0)  # another build of the same library may round


@pytest.mark.parametrize("reader", ["avif", "heif"])
def test_readers_that_use_a_private_part_of_a_library_fall_back(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails when a new version has no such part: then more memory is needed, and `decoders` must count it."""
    image = Image.linear_gradient("L").convert("RGB")
    if reader == "heif":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(image).save(tmp_path / "photo")
        private = "_heif_file"
    else:
        image.save(tmp_path / "photo", "AVIF")
        private = "_decoder"
    with opened(tmp_path / "photo", "the photo") as photo:
        direct = read_lean(photo)
    assert direct is not None
    with opened(tmp_path / "photo", "the photo") as photo:
        kept = getattr(photo, private)
        monkeypatch.setattr(photo, private, None)
        assert read_lean(photo) is None
        monkeypatch.setattr(photo, private, kept)
        np.testing.assert_array_equal(np.asarray(photo), direct)


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
@pytest.mark.parametrize(
    "kind", ["TIFF, colour, turned", "TIFF, one strip", "PPM, 16-bit", "AVIF", "JPEG 2000", "HEIC"]
)
def test_a_decoder_takes_no_more_than_is_counted(kind: str, tmp_path: Path) -> None:
    if kind == "HEIC":
        pytest.importorskip("pillow_heif")
    line = photo_memory.measure(kind, tmp_path, 2000)
    taken, counted, *_ = map(float, line.replace("!", "").split())
    assert taken < counted + 4.5, line  # 16 MB for strips and samples


@pytest.mark.parametrize(
    ("kinds", "planes"),
    [
        ([0x0C], 1.5),
        ([0x08], 2),
        ([0x00], 3),
        ([0x1C], 1),
        ([0x4C], 3),
        ([0x0C, 0x1C], 2.5),
        ([0x60, 0x70], 8),
        ([], 8),
    ],
)
def test_the_planes_of_an_avif_are_read_from_its_header(kinds: list[int], planes: float) -> None:
    assert av1_planes(b"ftypavif" + b"".join(b"av1C\x81\x00" + bytes([kind, 0]) for kind in kinds)) == planes


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_pixels_of_a_heic_outlive_its_decoder_and_may_be_changed(tmp_path: Path, mode: str) -> None:
    heif = pytest.importorskip("pillow_heif")
    scene = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).convert(mode)
    heif.from_pillow(scene).save(tmp_path / "a.heic", quality=90)
    expected = np.asarray(heif.open_heif(tmp_path / "a.heic").to_pillow().convert("RGB"))
    photos = [open_photo(tmp_path / "a.heic") for _ in range(3)]
    gc.collect()
    photos[0][:] = 7
    np.testing.assert_array_equal(photos[1], expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(photos[2])), expected)
