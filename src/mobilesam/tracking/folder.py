"""`track_video`: objects followed through a video, with the results written to a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from numpy.typing import ArrayLike
from tqdm import tqdm

from mobilesam.choices import TrackForm
from mobilesam.errors import OutputError, SettingsError
from mobilesam.image import MAX_PIXELS
from mobilesam.outputs import Outputs
from mobilesam.predict.predictor import Predictor
from mobilesam.tracking.frames import open_frames
from mobilesam.tracking.results import TrackedFrame
from mobilesam.tracking.settings import ObjectPrompt, TrackSettings
from mobilesam.tracking.track import track
from mobilesam.tracking.write import open_writers

FORMS: tuple[TrackForm, ...] = get_args(TrackForm)
DEFAULT_FORMS: tuple[TrackForm, ...] = ("indexed", "overlay")


@dataclass(frozen=True)
class TrackResult:
    """Result of one video."""

    name: str
    """Name of the video, and first part of the names of its results."""
    num_frames: int
    """Number of frames in which objects were looked for."""
    files: tuple[Path, ...]
    """The files, and the folders of pictures, that were written."""
    lost: dict[int, tuple[tuple[int, int], ...]]
    """Id of each object → the spans of frames in which it was lost, (first, last); empty for one that never was."""


def track_video(
    predictor: Predictor,
    video: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    box: ArrayLike | None = None,
    objects: Sequence[ObjectPrompt] | None = None,
    frame: int = 0,
    settings: TrackSettings | None = None,
    forms: Sequence[str] = DEFAULT_FORMS,
    max_pixels: int = MAX_PIXELS,
    value_range: tuple[float, float] | None = None,
    overwrite: bool = False,
    on_frame: Callable[[TrackedFrame], None] | None = None,
    show_progress: bool = False,
) -> TrackResult:
    """Follow objects through a video and write the results to a folder, as `mobilesam track` does.

    Args:
        predictor: the model.
        video: a video file, or a folder of pictures.
        output: folder for the results, created if missing.
        points: see `mobilesam.track`, as the next five.
        labels: of the points.
        box: around the object.
        objects: several objects.
        frame: in which they are marked.
        settings: of the search.
        forms: "indexed", "overlay", "masks", "coco".
        max_pixels: frames with more are refused.
        value_range: the values of black and white of frames of more than 8 bits; see `mobilesam.image.open_photo`.
        overwrite: replace files that this package did not write too, but never a frame or the video.
        on_frame: called after each frame.
        show_progress: show a progress bar on the terminal.

    Raises:
        PromptError, ImageError: see `mobilesam.track`.
        SettingsError: there is no such form, or a range of values is given for a video file.
        OutputError: an input or another's file would be replaced.
    """
    chosen = check_forms(forms)
    if not os.fspath(output).strip():
        raise OutputError("the name of the output folder is empty; give a folder")
    frames = open_frames(video, max_pixels=max_pixels, value_range=value_range)
    outputs = Outputs.beside(frames.files, overwrite=overwrite)
    results = track(
        predictor, frames, points=points, labels=labels, box=box, objects=objects, frame=frame, settings=settings
    )
    with ExitStack() as stack:
        found = stack.enter_context(closing(results))
        first = next(found)  # a wrong prompt or a broken video is told before anything is written
        writers, files = open_writers(chosen, Path(output), frames.name, frames.fps, outputs, stack)
        lost: dict[int, list[tuple[int, int]]] = {one.id: [] for one in first.objects}
        count = 0
        total = None if frames.count is None else max(0, frames.count - frame)
        bar = stack.enter_context(tqdm(total=total, unit="frame", disable=not show_progress))
        for one in _joined(first, found):
            for writer in writers:
                writer.write(one)
            for id in one.lost:
                add_lost(lost[id], one.index)
            count += 1
            bar.update()
            if on_frame is not None:
                on_frame(one)
    return TrackResult(frames.name, count, tuple(files), {id: tuple(spans) for id, spans in lost.items()})


def _joined(first: TrackedFrame, rest: Iterator[TrackedFrame]) -> Iterator[TrackedFrame]:
    yield first
    yield from rest


def check_forms(forms: Sequence[str]) -> list[TrackForm]:
    """The forms without repetitions.

    Raises:
        SettingsError: names the first that does not exist.
    """
    for form in forms:
        if form not in FORMS:
            raise SettingsError(f"tracks are written as {', '.join(FORMS)}, not as '{form}'")
    return [form for form in FORMS if form in forms]


def add_lost(spans: list[tuple[int, int]], index: int) -> None:
    """Add a frame to spans (first, last) of frames, in place."""
    if spans and spans[-1][1] == index - 1:
        spans[-1] = (spans[-1][0], index)
    else:
        spans.append((index, index))
