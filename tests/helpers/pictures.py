"""The pictures of the task pages: what the pages' commands wrote, side by side, and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.documents import ROOT

TARGET = ROOT / "docs" / "images" / "tasks"
WIDTH, GAP = 1000, 12  # pixels
LIGHT, DARK = (244, 243, 239), (222, 219, 210)  # the squares under what is transparent
CELL, CHANGE = 4, 20  # side of the squares that are averaged against the noise of WebP; levels that are seen

FILES: dict[str, tuple[str, ...]] = {
    "first-cut-out": ("cup.png", "cutout.png"),
    "many-photos": ("cutouts/*.png",),
    "boxes": ("detected.png",),
    "correct": ("first.png", "second.png"),
    "everything": ("masks/coffee_overlay.jpg",),
    "evaluate": ("report_worst/*.png",),
}
"""Pages whose picture shows files that their own blocks write: patterns of these."""


def files_of(folder: Path, patterns: Sequence[str]) -> list[Image.Image]:
    """The pictures of some patterns, in order."""
    return [shown(path) for pattern in patterns for path in sorted(folder.glob(pattern))]


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a row at one height, as wide as the column of a page at twice its pixels."""
    height = min(480, *(picture.height for picture in pictures)) if len(pictures) > 1 else pictures[0].height
    shown = [picture.resize((round(picture.width * height / picture.height), height)) for picture in pictures]
    strip = Image.new("RGBA", (sum(one.width for one in shown) + GAP * (len(shown) - 1), height), (0, 0, 0, 0))
    left = 0
    for one in shown:
        strip.paste(one, (left, 0))
        left += one.width + GAP
    return strip.resize((WIDTH, round(strip.height * WIDTH / strip.width))) if strip.width > WIDTH else strip


def shown(path: str | Path) -> Image.Image:
    """A picture, on squares where it is transparent."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    ground = Image.new("RGBA", picture.size, LIGHT)
    for y in range(0, picture.height, 12):
        for x in range(12 * (y // 12 % 2), picture.width, 24):
            ground.paste(DARK, (x, y, x + 12, y + 12))
    return Image.alpha_composite(ground, picture)


def save(picture: Image.Image, target: str | Path | BytesIO) -> None:
    """Write a picture as the documents have it."""
    picture.save(target, "WEBP", quality=80, method=6)


def as_saved(picture: Image.Image) -> Image.Image:
    """What `save` would leave of a picture: thin lines and letters lose more than the noise of its areas."""
    save(picture, kept := BytesIO())
    return Image.open(kept)


def difference(one: Image.Image, other: Image.Image) -> float:
    """Share of a picture in which another one of the same size differs by more than the noise of compression, 0-1."""
    assert one.size == other.size
    small = [
        np.asarray(
            Image.alpha_composite(Image.new("RGBA", one.size, LIGHT), picture.convert("RGBA"))
            .convert("RGB")
            .reduce(CELL)
        ).astype(int)
        for picture in (one, other)
    ]  # (h, w, 3) each
    return float((np.abs(small[0] - small[1]).max(axis=2) > CHANGE).mean())
