"""Synthetic clips of moving objects whose masks are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HW = (144, 208)
COLOURS = ((235, 200, 40), (40, 60, 170))

Path = Callable[[int], tuple[float, float] | None]
"""Number of the frame → the centre (x, y) of an object, None where it is hidden."""


@dataclass(frozen=True)
class Clip:
    """Discs that move over a textured ground, one colour each; later ones pass in front."""

    paths: tuple[Path, ...]
    count: int
    radius: int = 20

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The frames, (H, W, 3), one at a time."""
        return (self.draw(i) for i in range(self.count))

    def draw(self, index: int) -> NDArray[np.uint8]:
        """One frame."""
        rng = np.random.default_rng(0)
        noise = cv2.resize(
            rng.uniform(70, 150, (18, 26, 3)).astype(np.float32), HW[::-1], interpolation=cv2.INTER_CUBIC
        )
        frame = np.clip(noise + rng.normal(0, 4, (*HW, 3)), 0, 255).astype(np.uint8)
        for k, path in enumerate(self.paths):
            if (centre := path(index)) is not None:
                frame[self.disc(centre)] = COLOURS[k]
                frame[self.disc(centre, self.radius // 2)] = COLOURS[k][::-1]
        return frame

    def truth(self, index: int, which: int = 0) -> NDArray[np.bool_]:
        """The visible part of one object in one frame, (H, W)."""
        centre = self.paths[which](index)
        seen = np.zeros(HW, bool) if centre is None else self.disc(centre)
        for path in self.paths[which + 1 :]:
            if (front := path(index)) is not None:
                seen &= ~self.disc(front)
        return seen

    def disc(self, centre: tuple[float, float], radius: int | None = None) -> NDArray[np.bool_]:
        """A filled circle, (H, W)."""
        y, x = np.mgrid[: HW[0], : HW[1]]
        return np.asarray((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < (radius or self.radius) ** 2)

    def box(self, index: int, which: int = 0) -> tuple[float, float, float, float]:
        """Around one object in one frame."""
        centre = self.paths[which](index)
        assert centre is not None
        x, y = centre
        return x - self.radius, y - self.radius, x + self.radius, y + self.radius


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks."""
    return float((one & other).sum() / max(1, (one | other).sum()))
