"""Views of a photo for distillation: the whole photo, or random crops that depend only on a seed.

A view is not stored: the code that caches something about it and the code that uses the cache draw the same numbers
(TinyViT, arXiv 2207.10666, section 3.2, keeps the seed of each augmentation beside the teacher's answer).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
MIN_SIDE = 0.5  # of a crop, as a fraction of the photo's


@dataclass(frozen=True)
class View:
    """A window of the photo, in its pixels, and whether it is mirrored."""

    x: int
    y: int
    width: int
    height: int
    is_mirrored: bool = False

    def cut(self, array: NDArray[T]) -> NDArray[T]:
        """Cut the window out of a photo (H, W, 3) or a mask (H, W)."""
        window = array[self.y : self.y + self.height, self.x : self.x + self.width]
        return window[:, ::-1] if self.is_mirrored else window


def make_view(name: str, index: int, hw: tuple[int, int], seed: int) -> View:
    """Make view `index` of a photo: 0 is the whole photo, any other a random crop, mirrored half of the time.

    Args:
        name: the photo's path in its data set, so that draws do not depend on what the data set is called.
        index: which view.
        hw: size of the photo.
        seed: of all views.
    """
    h, w = hw
    if index == 0:
        return View(0, 0, w, h)
    rng = np.random.default_rng([seed, index, zlib.crc32(name.encode())])
    height, width = (max(1, round(side * rng.uniform(MIN_SIDE, 1))) for side in hw)
    y, x = int(rng.integers(0, h - height + 1)), int(rng.integers(0, w - width + 1))
    return View(x, y, width, height, bool(rng.random() < 0.5))
