"""Peak memory of opening one photo of each kind, in bytes a pixel.

    python -m benchmarks.photo_memory [--side 9000]

Each photo is opened in a process of its own; what that process took before is subtracted. Linux only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import make_parser, parse

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
    "JPEG, progressive": ("RGB", "jpg", {"progressive": True}),
    "JPEG, progressive, 4:4:4": ("RGB", "jpg", {"progressive": True, "subsampling": 0}),
    "PNG": ("RGB", "png", {}),
    "PNG with alpha": ("RGBA", "png", {}),
    "PNG with alpha, turned by EXIF": ("RGBA", "png", {"exif": 8}),
    "PNG grey": ("L", "png", {}),
    "PNG grey with alpha": ("LA", "png", {}),
    "PNG, 16-bit grey": ("I;16", "png", {}),
    "PNG, 1-bit": ("1", "png", {}),
    "GIF": ("P", "gif", {}),
    "TIFF, colour": ("RGB", "tif", {"compression": "tiff_deflate"}),
    "TIFF, float": ("F", "tif", {"compression": "tiff_deflate"}),
    "TIFF, 32-bit": ("I", "tif", {"compression": "tiff_deflate"}),
    "WebP": ("RGB", "webp", {}),
    "AVIF": ("RGB", "avif", {"speed": 10}),
    "JPEG 2000": ("RGB", "jp2", {}),
    "JPEG 2000 in tiles": ("RGB", "jp2", {"tile_size": (1024, 1024)}),
}


def draw(mode: str, side: int) -> Image.Image:
    """A photo that compresses well: a ramp."""
    ramp = Image.linear_gradient("L")
    if mode in ("I;16", "I", "F"):
        scale = {"I;16": 257, "I": 100000, "F": 1}[mode]
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray((np.asarray(ramp).astype(np.float64) * scale).astype(kind)).resize(
            (side, side), Image.Resampling.NEAREST
        )
    return ramp.resize((side, side), Image.Resampling.NEAREST).convert(mode)


def write(kind: str, folder: Path, side: int) -> Path:
    """A photo of one kind."""
    mode, suffix, options = KINDS[kind]
    path = folder / f"photo.{suffix}"
    image = draw(mode, side)
    if "exif" in options:
        exif = image.getexif()
        exif[0x0112] = options["exif"]
        options = {"exif": exif.tobytes()}
    image.save(path, **options)
    return path


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--side", type=int, default=9000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    arguments = parse(parser, lambda _: ["--side", "128", "--kinds", "JPEG", "PNG with alpha, turned by EXIF"])
    with tempfile.TemporaryDirectory() as name:
        for kind in arguments.kinds:
            # A small photo of the same kind loads what the decoder needs.
            small = write(kind, Path(name), 64).rename(Path(name) / f"small.{KINDS[kind][1]}")
            path = write(kind, Path(name), arguments.side)
            command = [sys.executable, "-c", OPEN, str(path), str(small)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            print(f"{kind:32} {answer if answer.startswith('refused') else format(float(answer), '.1f')}", flush=True)


if __name__ == "__main__":
    main()
