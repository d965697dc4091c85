"""The part of a frame in which an object is looked for: a square around its box, encoded by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

# H W frame, h w region

T = TypeVar("T", bound=np.generic)
BoxXyxy = tuple[float, float, float, float]
SMALLEST = 48  # pixels of a side; smaller regions are only blurred by enlarging them


@dataclass(frozen=True)
class Region:
    """A part of a frame, in whole pixels; right and bottom exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, box: BoxXyxy, factor: float, frame_hw: tuple[int, int]) -> Region:
        """A square of `factor` times the longer side of a box; moved into the frame, and cut where it is larger."""
        x0, y0, x1, y1 = box
        side = max(factor * max(x1 - x0, y1 - y0), SMALLEST)
        left, right = _span((x0 + x1) / 2, side, frame_hw[1])
        top, bottom = _span((y0 + y1) / 2, side, frame_hw[0])
        return cls(left, top, right, bottom)

    @property
    def hw(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y1 - self.y0, self.x1 - self.x0

    def cut(self, picture: NDArray[T]) -> NDArray[T]:
        """This part of a frame or of a map (H, W, ...)."""
        return picture[self.y0 : self.y1, self.x0 : self.x1]

    def inside(self, box: BoxXyxy) -> BoxXyxy:
        """A box of the frame in pixels of the region, cut off at its edges."""
        height, width = self.hw
        x0, x1 = (float(np.clip(x - self.x0, 0, width)) for x in (box[0], box[2]))
        y0, y1 = (float(np.clip(y - self.y0, 0, height)) for y in (box[1], box[3]))
        return x0, y0, x1, y1

    def paste(self, mask: NDArray[np.bool_], frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """A mask (h, w) of the region as one (H, W) of the frame, empty elsewhere."""
        whole = np.zeros(frame_hw, bool)
        whole[self.y0 : self.y1, self.x0 : self.x1] = mask
        return whole


def _span(centre: float, side: float, length: int) -> tuple[int, int]:
    if side >= length:
        return 0, length
    size = max(1, round(side))
    start = int(np.clip(round(centre - size / 2), 0, length - size))
    return start, start + size
