"""Dense optical flow from each frame to the last, which carries masks over from one frame to the next."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.image import Rgb

# H W frame, h w frame at the size of the flow

SMALLEST = 16  # pixels; DIS needs patches of 8 and a pyramid


class Flow:
    """Optical flow between successive frames (DIS, Kroeger et al., ECCV 2016); one for all objects of a video."""

    def __init__(self, side: int) -> None:
        self.side = side
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._last: NDArray[np.uint8] | None = None
        self._map: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        """x and y in the last frame of each pixel, (h, w) each."""

    def advance(self, frame: Rgb) -> None:
        """Compute the flow from this frame to the one of the last call; from then on `carry` uses it."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, self.side / max(grey.shape))
        if scale < 1:
            size = [max(16, round(length * scale)) for length in grey.shape]
            grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
        small = np.asarray(grey, np.uint8)  # (h, w)
        if self._last is None or min(small.shape) < SMALLEST:
            self._map = None
        else:
            # From this frame backwards: then each pixel of the new mask asks where it came from, and none stays empty.
            # None, since a given flow, even of zeros, would be where the search begins; OpenCV's types do not know it.
            back = self._dis.calc(small, self._last, None)  # type: ignore[call-overload]  # (h, w, 2)
            rows, columns = np.mgrid[: small.shape[0], : small.shape[1]].astype(np.float32)
            self._map = columns + back[..., 0], rows + back[..., 1]
        self._last = small

    def carry(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Move a mask of the last frame to where it is in this one.

        Args:
            mask: (H, W) of the last frame.

        Returns:
            (H, W) 0-1, with soft edges.
        """
        height, width = mask.shape
        if self._map is None:
            return mask.astype(np.float32)
        across, down = self._map
        h, w = across.shape
        small = cv2.resize(mask.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
        moved = cv2.remap(cv2.GaussianBlur(small, (0, 0), 1.0), across, down, cv2.INTER_LINEAR)
        return np.asarray(cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
