"""Writing a video file, frame by frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from mobilesam.errors import ImageError
from mobilesam.image import Rgb

CODECS = ("mp4v", "avc1")
"""Codes of the codecs for mp4, the most widely built in first."""


class VideoWriter:
    """An mp4 file that is written frame by frame; used with `with`, which finishes the file."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, frame: Rgb) -> None:
        """Append a frame (H, W, 3); all must have one size.

        Raises:
            ImageError: this OpenCV cannot write video.
        """
        # Codecs halve the resolution of colour, so sides must be even: the last row or column is repeated.
        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._writer is None:
            self._writer = _open(self.path, self.fps, (even.shape[1], even.shape[0]))
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))


def _open(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    for codec in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
        writer.release()
    raise ImageError(
        f"this OpenCV cannot write '{path.suffix}' video of {size[0]}x{size[1]} (codecs {', '.join(CODECS)}); leave "
        "out the overlay, or install opencv-python-headless from the package index, whose builds have FFmpeg"
    )
