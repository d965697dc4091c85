"""Make docs/images/track.webp: a drawn clip, followed from its first frame.

python scripts/draw_track.py

A camera moves over examples/coffee.png while a round picture of the cat of
examples/chelsea.png passes over the table, in front of the cup. Both are
marked in the first frame alone: the cup by a box, the cat by a click. Dots are the prompts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

import mobilesam
from mobilesam import ObjectPrompt
from mobilesam.draw import overlay
from mobilesam.image import Rgb

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "images" / "track.webp"
SIZE = (480, 320)
COUNT = 40
SHOWN = (0, 6, 12, 17, 22, 27, 33, 39)


def clip() -> Iterator[Rgb]:
    """The frames, (H, W, 3)."""
    table = np.asarray(Image.open(ROOT / "examples" / "coffee.png").convert("RGB"))
    cat = Image.open(ROOT / "examples" / "chelsea.png").convert("RGB").crop((90, 10, 370, 290))
    disc = Image.new("L", (560, 560))
    ImageDraw.Draw(disc).ellipse((0, 0, 559, 559), fill=255)
    cat.putalpha(disc.resize(cat.size, Image.Resampling.LANCZOS))
    for i in range(COUNT):
        time = i / (COUNT - 1)
        picture = Image.fromarray(table.copy())
        size = round(150 + 40 * time)
        small = cat.resize((size, size * cat.height // cat.width)).rotate(25 * np.sin(6 * time), expand=True)
        picture.paste(small, (round(-10 + 480 * time), round(215 - 60 * np.sin(3 * time))), small)
        # The camera: it turns, comes nearer and moves to the right.
        turned = cv2.getRotationMatrix2D((300, 200), 8 * np.sin(4 * time), 0.80 + 0.15 * time)
        turned[0, 2] += SIZE[0] / 2 - 300 - 25 * time
        turned[1, 2] += SIZE[1] / 2 - 200
        yield np.asarray(
            cv2.warpAffine(np.asarray(picture), turned, SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT),
            np.uint8,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, nargs="?", default=TARGET, help="the file to write (default %(default)s)")
    target: Path = parser.parse_args().target
    sam = mobilesam.load()
    prompts = [ObjectPrompt(box=(136, 14, 334, 218)), ObjectPrompt(points=[(70, 222)])]
    shown = []
    for frame in mobilesam.track(sam, clip(), objects=prompts):
        if frame.index in SHOWN:
            marks = {"points": [(70, 222)], "box": (136, 14, 334, 218)} if frame.index == 0 else {}
            shown.append(overlay(frame.photo, [one.mask.array for one in frame.objects], opacity=0.4, **marks))  # type: ignore[arg-type]
    rows = [np.hstack(shown[i : i + 4]) for i in (0, 4)]
    picture = Image.fromarray(np.vstack(rows)).resize((1280, 427), Image.Resampling.LANCZOS)
    picture.save(target, quality=72, method=6)
    print(f"wrote {target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
