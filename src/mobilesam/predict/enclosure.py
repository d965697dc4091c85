"""Enclosure: a prompt's box as evidence that the object does not extend beyond it.

Boxes that people draw and detectors find enclose their object. A network trained with inaccurate boxes uses that only
in part, so logits outside the box are lowered: what it is unsure of disappears there, what it is sure of stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mobilesam.contract import LABEL_OBJECT
from mobilesam.predict.prompts import Prompt


@dataclass(frozen=True)
class Enclosure:
    """A box in pixels of a photo, and by how much logits outside of it are lowered."""

    box_xyxy: tuple[float, float, float, float]
    penalty: float

    @classmethod
    def of(cls, prompt: Prompt, penalty: float) -> Enclosure | None:
        """The enclosure of a prompt.

        Args:
            prompt: points, a box or both, in pixels of the photo.
            penalty: see `ModelInfo.outside_box`.

        Returns:
            None without a box or a penalty, and if a point outside the box says that the object extends beyond it.
        """
        if prompt.box_xyxy is None or penalty <= 0:
            return None
        (x0, y0), (x1, y1) = np.reshape(prompt.box_xyxy, (2, 2)).tolist()
        inside = prompt.coords[prompt.labels == LABEL_OBJECT]
        if ((inside < (x0, y0)) | (inside > (x1, y1))).any():
            return None
        return cls((x0, y0, x1, y1), penalty)

    def lower(
        self, logits: NDArray[np.float32], photo_hw: tuple[int, int], origin_xy: tuple[int, int] = (0, 0)
    ) -> None:
        """Lower the logits of all pixels whose centre lies outside the box, in place.

        Args:
            logits: (h, w) of the whole photo at any size, or of a region of it at the photo's size.
            photo_hw: size of what the logits show, in pixels of the photo.
            origin_xy: upper left pixel of that region.
        """
        h, w = logits.shape
        (left, top), (right, bottom) = np.reshape(self.box_xyxy, (2, 2)) - origin_xy
        x0, x1 = inner(left, right, w / photo_hw[1], w)
        y0, y1 = inner(top, bottom, h / photo_hw[0], h)
        for band in (logits[:y0], logits[y1:], logits[y0:y1, :x0], logits[y0:y1, x1:]):
            band -= np.float32(self.penalty)


def inner(start: float, end: float, scale: float, length: int) -> tuple[int, int]:
    """First and last (exclusive) of `length` pixels whose centres lie between two coordinates times `scale`."""
    first = min(max(math.ceil(start * scale - 0.5), 0), length)
    last = min(max(math.floor(end * scale - 0.5) + 1, first), length)
    return first, last
