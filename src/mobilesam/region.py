"""A part of a photo or of a frame that is cut out and encoded by itself."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

# H W photo, h w region

T = TypeVar("T", bound=np.generic)
BoxXyxy = tuple[float, float, float, float]


class Region(NamedTuple):
    """A rectangle of whole pixels; right and bottom exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def hw(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y1 - self.y0, self.x1 - self.x0

    def cut(self, picture: NDArray[T]) -> NDArray[T]:
        """This part of a photo or of a map (H, W, ...), as a view."""
        return picture[self.y0 : self.y1, self.x0 : self.x1]

    def inside(self, box: BoxXyxy) -> BoxXyxy:
        """A box of the photo in pixels of the region, cut off at its edges."""
        height, width = self.hw
        x0, x1 = (float(np.clip(x - self.x0, 0, width)) for x in (box[0], box[2]))
        y0, y1 = (float(np.clip(y - self.y0, 0, height)) for y in (box[1], box[3]))
        return x0, y0, x1, y1

    def paste(self, mask: NDArray[np.bool_], photo_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """A mask (h, w) of the region as one (H, W) of the photo, False elsewhere."""
        whole = np.zeros(photo_hw, bool)
        self.cut(whole)[...] = mask
        return whole
