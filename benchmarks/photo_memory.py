"""Peak memory of opening one photo of each kind that is supported, in bytes a pixel, and what the limit counts for it.

    python -m benchmarks.photo_memory [--side 9000] [--kinds AVIF "JPEG 2000"]

Each photo is opened in a process of its own; what that process took before is subtracted. Linux only.
The last column is what `mobilesam.opening.decoders` counts against the limit of memory; a larger peak is marked "!".
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.common import make_parser, parse
from mobilesam.opening.decoders import bytes_per_pixel
from mobilesam.opening.encoded import opened

OPEN = """
import sys
from mobilesam.image import open_photo

def peak():  # getrusage would count what the parent took before it started this process
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

open_photo(sys.argv[2])
before = peak()
try:
    height, width, _ = open_photo(sys.argv[1], max_pixels=10**9).shape
except Exception as error:
    print("refused:", str(error)[:80])
else:
    print((peak() - before) / (height * width))
"""
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "JPEG": ("RGB", "jpg", {}),
    "JPEG, turned by EXIF": ("RGB", "jpg", {"exif": 6}),
    "JPEG grey": ("L", "jpg", {}),
    "JPEG, CMYK": ("CMYK", "jpg", {}),
    "JPEG, progressive": ("RGB", "jpg", {"progressive": True}),
    "JPEG, progressive, 4:4:4": ("RGB", "jpg", {"progressive": True, "subsampling": 0}),
    "MPO": ("RGB", "mpo", {"second": True}),
    "PNG": ("RGB", "png", {}),
    "PNG, turned by EXIF": ("RGB", "png", {"exif": 6}),
    "PNG with alpha": ("RGBA", "png", {}),
    "PNG with alpha, turned by EXIF": ("RGBA", "png", {"exif": 8}),
    "PNG grey": ("L", "png", {}),
    "PNG grey with alpha": ("LA", "png", {}),
    "PNG, palette": ("P", "png", {}),
    "PNG, palette with transparency": ("P", "png", {"transparency": 3}),
    "PNG, 16-bit grey": ("I;16", "png", {}),
    "PNG, 16-bit colour": ("RGB;16", "png", {}),
    "PNG, 12-bit colour in 16": ("RGB;12", "png", {}),
    "PNG, 16-bit colour with alpha": ("RGBA;16", "png", {}),
    "PNG, 1-bit": ("1", "png", {}),
    "GIF": ("P", "gif", {}),
    "GIF with transparency": ("P", "gif", {"transparency": 3}),
    "GIF, animated": ("P", "gif", {"second": True}),
    "BMP": ("RGB", "bmp", {}),
    "BMP, palette": ("P", "bmp", {}),
    "PPM": ("RGB", "ppm", {}),
    "PPM, 16-bit": ("RGB;16", "ppm", {}),
    "PGM, 16-bit": ("I;16", "pgm", {}),
    "TIFF, colour": ("RGB", "tif", {"compression": "tiff_deflate"}),
    "TIFF, colour, turned": ("RGB", "tif", {"compression": "tiff_deflate", "tiffinfo": {274: 6}}),
    "TIFF, colour, not compressed": ("RGB", "tif", {}),
    "TIFF, colour, LZW": ("RGB", "tif", {"compression": "tiff_lzw"}),
    "TIFF, colour, JPEG": ("RGB", "tif", {"compression": "jpeg"}),
    "TIFF with alpha": ("RGBA", "tif", {"compression": "tiff_deflate"}),
    "TIFF, CMYK": ("CMYK", "tif", {"compression": "tiff_deflate"}),
    "TIFF, in tiles": ("RGB", "tif", {"layout": "tiles"}),
    "TIFF, one strip": ("RGB", "tif", {"layout": "strip"}),
    "TIFF, planar": ("RGB", "tif", {"layout": "planar"}),
    "TIFF, 16-bit grey": ("I;16", "tif", {"compression": "tiff_deflate"}),
    "TIFF, 16-bit colour": ("RGB;16", "tif", {}),
    "TIFF, 12-bit colour in 16": ("RGB;12", "tif", {}),
    "TIFF, float": ("F", "tif", {"compression": "tiff_deflate"}),
    "TIFF, 32-bit": ("I", "tif", {"compression": "tiff_deflate"}),
    "TIFF, 1-bit": ("1", "tif", {"compression": "group4"}),
    "WebP": ("RGB", "webp", {"method": 0}),
    "WebP, lossless": ("RGB", "webp", {"method": 0, "lossless": True}),
    "WebP with alpha": ("RGBA", "webp", {"method": 0}),
    "WebP with alpha, lossless": ("RGBA", "webp", {"method": 0, "lossless": True}),
    "WebP, animated": ("RGB", "webp", {"method": 0, "second": True}),
    "AVIF": ("RGB", "avif", {"speed": 10}),
    "AVIF, 4:4:4": ("RGB", "avif", {"speed": 10, "subsampling": "4:4:4"}),
    "AVIF, turned": ("RGB", "avif", {"speed": 10, "exif": 6}),
    "AVIF with alpha": ("RGBA", "avif", {"speed": 10}),
    "AVIF, 10-bit": ("RGB;10", "avif", {}),
    "JPEG 2000": ("RGB", "jp2", {}),
    "JPEG 2000, lossy": ("RGB", "jp2", {"irreversible": True, "quality_mode": "rates", "quality_layers": [20]}),
    "JPEG 2000 grey": ("L", "jp2", {}),
    "JPEG 2000 with alpha": ("RGBA", "jp2", {}),
    "JPEG 2000, 16-bit grey": ("I;16", "jp2", {}),
    "JPEG 2000, 16-bit colour": ("RGB;16", "jp2", {}),
    "JPEG 2000, 16-bit colour with alpha": ("RGBA;16", "jp2", {}),
    "JPEG 2000 in tiles": ("RGB", "jp2", {"tile_size": (1024, 1024)}),
    "HEIC": ("RGB", "heic", {}),
    "HEIC with alpha": ("RGBA", "heic", {}),
}
OPTIONAL = {"heic": "pillow_heif"}


def draw(mode: str, side: int) -> Image.Image:
    """A photo that compresses well: a ramp."""
    ramp = Image.linear_gradient("L")
    if mode in ("I;16", "I", "F"):
        scale = {"I;16": 257, "I": 100000, "F": 1}[mode]
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray((np.asarray(ramp).astype(np.float64) * scale).astype(kind)).resize(
            (side, side), Image.Resampling.NEAREST
        )
    image = ramp.resize((side, side), Image.Resampling.NEAREST).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(image.getchannel(0))
    return image


def write(kind: str, folder: Path, side: int) -> Path:
    """A photo of one kind."""
    mode, suffix, options = KINDS[kind]
    path, options = folder / f"photo.{suffix}", dict(options)
    if ";" in mode and mode != "I;16":
        return write_deep(path, mode, side)
    if suffix == "heic":
        from pillow_heif import from_pillow

        from_pillow(draw(mode, side)).save(path, quality=30, preset="ultrafast")
        return path
    image = draw(mode, side)
    if layout := options.pop("layout", ""):
        return write_tiff(path, np.asarray(image), layout)
    if orientation := options.pop("exif", 0):
        exif = image.getexif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    if options.pop("second", False):
        options |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]}
    image.save(path, **options)
    return path


def write_deep(path: Path, mode: str, side: int) -> Path:
    """A photo of 10 or 16 bits a channel, which Pillow cannot write."""
    kind, _, bits = mode.partition(";")
    scale = {"10": 1023 // 255, "12": 4095 // 255, "16": 257}[bits]
    grey = np.asarray(draw("L", side)).astype(np.uint16) * scale  # (side, side)
    how = [cv2.IMWRITE_AVIF_DEPTH, int(bits), cv2.IMWRITE_AVIF_SPEED, 10] if path.suffix == ".avif" else []
    if not cv2.imwrite(str(path), np.repeat(grey[..., None], len(kind), axis=2), how):
        raise SystemExit(f"OpenCV cannot write {path.suffix}")
    return path


def write_tiff(path: Path, rgb: Any, layout: str) -> Path:
    """A deflated TIFF of one strip, of tiles, or of planes: layouts that Pillow reads but does not write."""
    height, width, channels = rgb.shape
    if layout == "tiles":
        side = 256
        padded = np.pad(rgb, ((0, -height % side), (0, -width % side), (0, 0)))
        blocks = [padded[y : y + side, x : x + side] for y in range(0, height, side) for x in range(0, width, side)]
    else:
        blocks = [rgb] if layout == "strip" else [rgb[..., channel] for channel in range(channels)]
    data = [zlib.compress(np.ascontiguousarray(block).tobytes(), 1) for block in blocks]
    starts = np.cumsum([8, *map(len, data)])
    place, count, sizes = (324, 325, {322: [side], 323: [side]}) if layout == "tiles" else (273, 279, {278: [height]})
    tags = {256: [width], 257: [height], 258: [8] * channels, 259: [8], 262: [2], 277: [channels], **sizes}
    tags |= {284: [2 if layout == "planar" else 1], place: starts[:-1].tolist(), count: [len(d) for d in data]}
    entries, tail, end = b"", b"", int(starts[-1]) + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        entries += struct.pack("<HHI", tag, 4, len(values))
        entries += packed if len(values) == 1 else struct.pack("<I", end + len(tail))
        tail += packed if len(values) > 1 else b""
    head = b"II*\0" + struct.pack("<I", int(starts[-1]))
    path.write_bytes(head + b"".join(data) + struct.pack("<H", len(tags)) + entries + bytes(4) + tail)
    return path


def measure(kind: str, folder: Path, side: int) -> str:
    """The line of one kind."""
    # A small photo of the same kind loads what the decoder needs.
    small = write(kind, folder, 64).rename(folder / f"small.{KINDS[kind][1]}")
    path = write(kind, folder, side)
    command = [sys.executable, "-c", OPEN, str(path), str(small)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if answer.startswith("refused"):
        return answer
    with opened(path, kind, 10**9) as image:
        counted = bytes_per_pixel(image)
    constant = 24e6 / side**2
    return f"{float(answer):6.1f} {counted:6.1f}{' !' if float(answer) > counted + constant else ''}"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--side", type=int, default=9000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), metavar="KIND", help="; ".join(KINDS))
    arguments = parse(parser, lambda _: ["--side", "128", "--kinds", "JPEG", "PNG with alpha, turned by EXIF"])
    with tempfile.TemporaryDirectory() as name:
        for kind in arguments.kinds:
            module = OPTIONAL.get(KINDS[kind][1])
            answer = (
                f"needs {module}" if module and not find_spec(module) else measure(kind, Path(name), arguments.side)
            )
            print(f"{kind:32} {answer}", flush=True)


if __name__ == "__main__":
    main()
