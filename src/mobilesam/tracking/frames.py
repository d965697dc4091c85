"""Frames of a video, one at a time: from a video file, a folder of pictures, or any iterable of photos."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from mobilesam.errors import ImageError, MobileSamError, PromptError, SettingsError
from mobilesam.image import MAX_PIXELS, SUFFIXES, PhotoLike, Rgb, is_photo_name, locate_photos, open_photo

VideoLike: TypeAlias = str | os.PathLike[str] | Iterable[PhotoLike]
"""A video file, a folder of frames, or frames one after the other."""
DEFAULT_FPS = 25.0  # of overlays, where nothing says how fast the frames follow each other
MOST_FPS = 1000.0  # files that state more are wrong
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    index: int
    """From 0, counted from the start of the video."""
    name: str
    """File name without suffix, or the index in five digits."""
    photo: Rgb = field(repr=False)
    """(H, W, 3)"""


@dataclass(frozen=True)
class Frames:
    """A video that was opened: what is known of it before its frames are read."""

    name: str
    """Name of the file or folder without suffix; "video" for other iterables."""
    count: int | None
    """Number of frames, as the file states it; None where that is unknown."""
    fps: float
    """Frames per second; 25 where that is unknown."""
    source: VideoLike = field(repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)
    """The pictures of a folder in order, or the video file."""
    max_pixels: int = MAX_PIXELS
    value_range: tuple[float, float] | None = None

    def read(self, start: int = 0) -> Generator[Frame, None, None]:
        """Read the frames from `start` on; only one is in memory at a time.

        Raises:
            ImageError: a frame cannot be read, or has another size than the first.
            PromptError: there is no frame `start`.
        """
        if isinstance(self.source, (str, os.PathLike)):
            is_folder = Path(self.source).is_dir()
            frames = self._read_folder(start) if is_folder else self._read_video(Path(self.source), start)
        else:
            frames = self._read_photos(self.source, start)
        with closing(frames):
            hw: tuple[int, ...] | None = None
            for frame in frames:
                hw = hw or frame.photo.shape[:2]
                if frame.photo.shape[:2] != hw:
                    height, width = frame.photo.shape[:2]
                    raise ImageError(
                        f"frame {frame.index} ('{frame.name}') of {self.name} is {width}x{height}, those before it "
                        f"{hw[1]}x{hw[0]}; a video has frames of one size"
                    )
                yield frame
        if hw is None:
            raise self.nothing(start)

    def nothing(self, start: int) -> MobileSamError:
        """The error where no frame can be read: the video holds none, or fewer than `start`."""
        if start == 0:
            return ImageError(f"no frame of '{self.name}' can be read: it is empty or damaged")
        return PromptError(f"there is no frame {start} in '{self.name}'; the first is 0, give an earlier --frame")

    def _open(self, photo: PhotoLike) -> Rgb:
        return open_photo(photo, max_pixels=self.max_pixels, value_range=self.value_range)

    def _read_folder(self, start: int) -> Generator[Frame, None, None]:
        for index, path in enumerate(self.files[start:], start):
            yield Frame(index, path.stem, self._open(path))

    def _read_photos(self, photos: Iterable[PhotoLike], start: int) -> Generator[Frame, None, None]:
        for index, photo in enumerate(photos):
            if index >= start:
                yield Frame(index, f"{index:05}", self._open(photo))

    def _read_video(self, path: Path, start: int) -> Generator[Frame, None, None]:
        capture = _capture(path)
        try:
            for _ in range(start):
                if not capture.grab():
                    return
            index = start
            while True:
                is_read, bgr = capture.read()
                if not is_read:
                    break
                yield Frame(index, f"{index:05}", np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
                index += 1
        finally:
            capture.release()
        if self.count is not None and index < self.count:
            _log.warning("'%s' ends after %d of %d frames; it may be damaged", path, index, self.count)


def open_frames(
    video: VideoLike, *, max_pixels: int = MAX_PIXELS, value_range: tuple[float, float] | None = None
) -> Frames:
    """Open a video, without reading its frames yet.

    Args:
        video: a video file of any kind that OpenCV reads (mp4, mov, avi, mkv, webm), a folder of pictures, which are
            taken in the order of their names with numbers in them counted (2 before 10), or an iterable of photos.
        max_pixels: frames with more are refused.
        value_range: the values of black and white of frames of more than 8 bits; see `mobilesam.image.open_photo`.

    Raises:
        SettingsError: a range of values is given for a video file, whose values have 8 bits.
        ImageError: the file is missing or no video, or the folder holds no pictures or two of the same name.
    """
    if not isinstance(video, (str, os.PathLike)):
        given: object = video
        if isinstance(given, (bytes, bytearray)) or not isinstance(given, Iterable):
            raise ImageError(f"a video is a path or a list of photos, not {type(video).__name__}")
        count = len(video) if isinstance(video, (list, tuple)) else None
        return Frames("video", count, DEFAULT_FPS, video, (), max_pixels, value_range)
    text, path = os.fspath(video), Path(video)
    if not text.strip():
        raise ImageError("the path of the video is empty; give a video file or a folder of frames")
    if "://" in text:
        raise ImageError(f"'{text}' is an address; download the video first and give its path")
    if path.is_dir():
        files = _pictures(path)
        return Frames(path.resolve().name, len(files), DEFAULT_FPS, path, tuple(files), max_pixels, value_range)
    if is_photo_name(path.name):
        raise ImageError(f"'{path}' is one picture; give a video file, or the folder of its frames")
    if value_range is not None:
        raise SettingsError("'value_range' (--range) does nothing here: a video file has 8 bits per channel")
    capture = _capture(path)
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    if width * height > max_pixels:
        raise ImageError(f"'{path}' has frames of {width}x{height}, more than {max_pixels} pixels; see --max-pixels")
    known = fps if 0 < fps <= MOST_FPS else DEFAULT_FPS
    return Frames(path.stem, count if count > 0 else None, known, path, (path,), max_pixels)


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Key that sorts names as people do: numbers in them by their value."""
    parts = re.split(r"(\d+)", path.name)
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)


def _pictures(folder: Path) -> list[Path]:
    """The frames in a folder, in order."""
    files = sorted((Path(path) for path, _ in locate_photos([folder])), key=natural)
    twice = [stem for stem, count in Counter(path.stem for path in files).items() if count > 1]
    if twice:
        raise ImageError(
            f"'{folder}' holds several pictures called '{twice[0]}', so it is unclear which is the frame; keep one "
            f"of {', '.join(sorted(SUFFIXES)[:3])} ..."
        )
    return files


def _capture(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise ImageError(f"'{path}' does not exist; give a video file or a folder of frames")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        capture.release()
        raise ImageError(
            f"'{path}' cannot be opened as a video: it is damaged, empty, or of a kind that this OpenCV does not read; "
            "convert it to mp4 (H.264), or give a folder of its frames"
        )
    return capture
