"""Photos, as files and as objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.image import open_photo
from tests.fuzz.targets.common import refusal, write


def photo(data: bytes, folder: Path) -> None:
    """Open a photo for prediction."""
    rgb = open_photo(data)
    assert rgb.dtype == np.uint8
    assert rgb.ndim == 3


def photo_elsewhere(data: bytes, folder: Path) -> None:
    """Open it as every other reader does: data sets, the survey, label pictures, only its header, reduced."""
    from mobilesam.data import shapes
    from mobilesam.data.decoded import read_photo
    from mobilesam.data.files import FileRef
    from mobilesam.data.photo import PhotoId, PhotoRef
    from mobilesam.data.survey import damage

    path = write(folder / "photo", data)
    file = FileRef(str(path))
    reference = PhotoRef(PhotoId("d", "photo"), file, None)
    readers: list[Callable[[], Any]] = [
        lambda: read_photo(reference, need_masks=False),
        reference.header,
        lambda: shapes.label_pixels(file),
        lambda: shapes.object_pixels(file, 128),
        lambda: open_photo(path, max_side=8, value_range=(0, 9)),
    ]
    damage(file)
    refusals = [error for reader in readers if (error := refusal(reader)) is not None]
    if len(refusals) == len(readers):
        raise refusals[0]


def array(data: bytes, folder: Path) -> None:
    """An array, a PIL image or any other Python object as a photo."""
    from PIL import Image

    spec = json.loads(data)
    kind, value = spec["kind"], spec["value"]
    if kind == "array":
        with np.errstate(all="ignore"):
            value = np.full(spec["shape"], spec["fill"]).astype(spec["dtype"])
    elif kind == "image":
        value = Image.new(spec["mode"], [*spec["shape"], 3, 3][:2])
    elif kind == "path":
        value = Path(str(value))
    elif kind == "bytes":
        value = str(value).encode()
    open_photo(value)


def video(data: bytes, folder: Path) -> None:
    """Open a video and read its first frames."""
    from mobilesam.tracking.frames import open_frames

    path = write(folder / "video.mp4", data)
    with closing(open_frames(path, max_pixels=10**6).read()) as frames:
        for frame in islice(frames, 20):
            assert frame.photo.dtype == np.uint8
            assert frame.photo.ndim == 3
