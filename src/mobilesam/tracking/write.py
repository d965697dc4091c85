"""Writing of tracks to files that other tools read, one frame at a time.

NAME_overlay.mp4           the video with its objects tinted
Annotations/NAME/*.png     each pixel holds the object's id, with a palette, as in DAVIS and YouTube-VOS
masks/NAME/ID/*.png        255 on the object, a folder for each object
NAME.json                  COCO: the frames as images, annotations with `track_id`
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam.choices import TrackForm
from mobilesam.files import make_folder, replacing, save_picture
from mobilesam.outputs import SOFTWARE, Outputs, identity, is_picture_of_ours
from mobilesam.tracking.results import TrackedFrame
from mobilesam.tracking.video import VideoWriter


class Writer(Protocol):
    """Writes one form of results, frame by frame."""

    def write(self, frame: TrackedFrame) -> None:
        """Add a frame."""
        ...


class Overlay:
    """The video with its objects tinted."""

    def __init__(self, path: Path, fps: float, outputs: Outputs, stack: ExitStack) -> None:
        self._video = stack.enter_context(VideoWriter(stack.enter_context(replacing(path, outputs)), fps))

    def write(self, frame: TrackedFrame) -> None:
        """Add a frame."""
        self._video.write(frame.overlay())


class Indexed:
    """A picture with a palette for each frame, as in DAVIS and YouTube-VOS."""

    def __init__(self, folder: Path, outputs: Outputs) -> None:
        self.folder, self.outputs = folder, outputs
        make_folder(folder)
        remove_older(folder, outputs)

    def write(self, frame: TrackedFrame) -> None:
        """Add a frame."""
        picture = Image.fromarray(frame.labels().astype(np.uint8)).convert("L")
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette(palette().tobytes())
        save_picture(picture, self.folder / f"{frame.name}.png", outputs=self.outputs)


class Masks:
    """A picture of two values for each frame and each object."""

    def __init__(self, folder: Path, outputs: Outputs) -> None:
        self.folder, self.outputs = folder, outputs
        for older in folder.glob("[0-9]*/"):
            remove_older(older, outputs)

    def write(self, frame: TrackedFrame) -> None:
        """Add a frame."""
        for one in frame.objects:
            folder = self.folder / str(one.id)
            make_folder(folder)
            save_picture(one.mask.array, folder / f"{frame.name}.png", outputs=self.outputs)


class Coco:
    """One COCO file of all frames; what is known so far lies in temporary files, not in memory."""

    def __init__(self, path: Path, video: str, outputs: Outputs, stack: ExitStack) -> None:
        self.video = video
        self.path = stack.enter_context(replacing(path, outputs))
        self._images: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115
        self._annotations: IO[str] = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115
        self._video: dict[str, Any] = {}
        self._num_frames = 0
        self._num_annotations = 0
        stack.push(self._finish)

    def write(self, frame: TrackedFrame) -> None:
        """Add a frame; a lost object has no annotation in it."""
        height, width = frame.photo.shape[:2]
        self._num_frames += 1
        image_id = self._num_frames
        self._video = {"id": 1, "name": self.video, "width": width, "height": height}
        self._add(
            self._images,
            {
                "id": image_id,
                "file_name": f"{self.video}/{frame.name}.jpg",
                "width": width,
                "height": height,
                "video_id": 1,
                "frame_id": frame.index,
            },
        )
        for one in frame.objects:
            if not one.is_lost:
                self._num_annotations += 1
                record = one.mask.to_coco(id=self._num_annotations, image_id=image_id)
                self._add(self._annotations, {**record, "video_id": 1, "track_id": one.id})

    @staticmethod
    def _add(file: IO[str], record: dict[str, Any]) -> None:
        file.write((",\n" if file.tell() else "") + json.dumps(record))

    def _finish(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        """Put the parts together; after an error nothing is written."""
        if kind is None:
            head = json.dumps({**SOFTWARE, "videos": [{**self._video, "length": self._num_frames}]})[:-1]
            with self.path.open("w", encoding="utf-8") as file:
                file.write(head)
                for name, part in (("images", self._images), ("annotations", self._annotations)):
                    file.write(f',\n"{name}": [\n')
                    part.seek(0)
                    while text := part.read(2**20):
                        file.write(text)
                    file.write("]")
                file.write(',\n"categories": [{"id": 1, "name": "object"}]}\n')
        return False


def open_writers(
    forms: Sequence[TrackForm], folder: Path, name: str, fps: float, outputs: Outputs, stack: ExitStack
) -> tuple[list[Writer], list[Path]]:
    """Writers for the requested forms, which `stack` finishes, and the files and folders that they write.

    Raises:
        OutputError: an input or another's file would be replaced.
    """
    paths = {
        "overlay": folder / f"{name}_overlay.mp4",
        "indexed": folder / "Annotations" / name,
        "masks": folder / "masks" / name,
        "coco": folder / f"{name}.json",
    }
    makers: dict[str, Callable[[Path], Writer]] = {
        "overlay": lambda path: Overlay(path, fps, outputs, stack),
        "indexed": lambda path: Indexed(path, outputs),
        "masks": lambda path: Masks(path, outputs),
        "coco": lambda path: Coco(path, name, outputs, stack),
    }
    for form in forms:
        if form in ("overlay", "coco"):  # before the first is opened
            outputs.check(paths[form])
    make_folder(folder)
    return [makers[form](paths[form]) for form in forms], [paths[form] for form in forms]


def remove_older(folder: Path, outputs: Outputs) -> None:
    """Remove the pictures of an earlier run, which may have had other frames; nothing else in the folder is touched."""
    for path in folder.glob("*.png"):
        if identity(path) not in outputs.inputs and is_picture_of_ours(path):
            path.unlink()


def palette() -> NDArray[np.uint8]:
    """The colours of PASCAL VOC and DAVIS for the ids 0-255: (256, 3).

    The bits of the id are dealt to red, green and blue in turn, its lowest ones to the highest bits of the colours.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            position = 3 * bit + channel
            if position < 8:
                colours[:, channel] |= (((ids >> position) & 1) << (7 - bit)).astype(np.uint8)
    return colours
