"""Tracking on sequences with true masks: J, F and J&F as in DAVIS, and frames a second.

    python -m benchmarks.track --videos PATH [--model embedded] [--threads 2] [--only NAME ...] [--strips DIR]

PATH is a folder or a tar of sequences: NAME/00000.jpg and NAME/00000.png, a mask of the object, for each frame. The
prompt is the box of the first frame's true mask, or a click on its innermost pixel. As in DAVIS the first and the last
frame do not count. Box-only propagation prompts each frame with the box of the last mask; it is measured without and
with second looks. Methods take turns on each sequence, so that other work on the machine disturbs all of them.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mobilesam
from benchmarks.common import machine, make_parser, parse
from mobilesam import boxes
from mobilesam.draw import overlay
from mobilesam.evaluate.metrics import contour_accuracy, iou
from mobilesam.image import Rgb, open_photo
from mobilesam.masks import deepest_pixel
from mobilesam.predict.zoom import Zoom

Mask = NDArray[np.bool_]
Method = Callable[[Sequence[Rgb], Mask], Iterator[Mask]]
"""Frames and the first true mask → a mask for each frame."""
LOST_BELOW = 0.1  # a mask with a lower IoU is on something else


@dataclass(frozen=True)
class Sequences:
    """A folder or a tar of sequences."""

    path: Path

    def __iter__(self) -> Iterator[tuple[str, list[Rgb], list[Mask]]]:
        """Name, frames and true masks of each sequence."""
        files = self._files()
        for name in sorted({Path(file).parent.name for file in files}):
            photos = sorted(file for file in files if Path(file).parent.name == name and file.endswith(".jpg"))
            pairs = [(open_photo(files[file]()), files[file.removesuffix(".jpg") + ".png"]()) for file in photos]
            truths = [np.asarray(open_photo(data).any(axis=2)) for _, data in pairs]
            yield name, [photo for photo, _ in pairs], truths

    def _files(self) -> dict[str, Callable[[], bytes]]:
        """Name of each file → what reads it."""
        if self.path.is_dir():
            return {str(file): file.read_bytes for file in self.path.glob("*/*.*")}
        with tarfile.open(self.path) as tar:
            held = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            contents = {name: file.read() for name, file in held.items() if file is not None}
        return {name: partial(bytes, data) for name, data in contents.items()}


def box_only(sam: mobilesam.Predictor, zoom: Zoom) -> Method:
    """The baseline: the box of the last mask prompts the next frame, which it need not enclose."""

    def follow(frames: Sequence[Rgb], first: Mask) -> Iterator[Mask]:
        box = boxes.from_mask(first)
        for frame in frames:
            mask = replace(sam.embed(frame).predict(box=box, zoom=zoom), enclosure=None).best.array
            box = boxes.from_mask(mask) if mask.any() else box
            yield mask

    return follow


def tracked(sam: mobilesam.Predictor, *, click: bool) -> Method:
    """`mobilesam.track`."""

    def follow(frames: Sequence[Rgb], first: Mask) -> Iterator[Mask]:
        if click:
            found = mobilesam.track(sam, frames, points=[deepest_pixel(first)[0]])
        else:
            found = mobilesam.track(sam, frames, box=boxes.from_mask(first))
        return (one.objects[0].mask.array for one in found)

    return follow


def true_boxes(sam: mobilesam.Predictor, truths: Sequence[Mask]) -> Method:
    """What the model gives for the true box of every frame: no tracking, the limit of its masks."""

    def follow(frames: Sequence[Rgb], first: Mask) -> Iterator[Mask]:
        for frame, truth in zip(frames, truths, strict=True):
            yield sam.embed(frame).predict(box=boxes.from_mask(truth)).best.array

    return follow


@dataclass(frozen=True)
class Score:
    """One method on one sequence."""

    region: float
    contour: float
    astray: float
    """Share of frames whose mask has next to nothing of the object."""
    seconds: float
    num_frames: int

    @property
    def both(self) -> float:
        """J&F."""
        return (self.region + self.contour) / 2


def judge(masks: list[Mask], truths: list[Mask], seconds: float) -> Score:
    """J, F and their like, without the first and the last frame."""
    pairs = list(zip(masks, truths, strict=True))[1:-1]
    regions = [iou(mask, truth) for mask, truth in pairs]
    contours = [contour_accuracy(mask, truth) for mask, truth in pairs]
    astray = float(np.mean([region < LOST_BELOW for region in regions]))
    return Score(float(np.mean(regions)), float(np.mean(contours)), astray, seconds, len(masks))


def strip(frames: Sequence[Rgb], masks: Sequence[Mask], path: Path, count: int = 8) -> None:
    """Write evenly spread frames with their masks side by side."""
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    picture = np.hstack([overlay(frames[i], [masks[i]]) for i in chosen])
    Image.fromarray(picture).resize((picture.shape[1] // 2, picture.shape[0] // 2)).save(path)


def rows(scores: dict[str, dict[str, Score]]) -> Iterator[str]:
    """The tables: J&F of each sequence, and means."""
    names = list(next(iter(scores.values())))
    yield "| method | J | F | J&F | frames astray | frames/s | " + " | ".join(names) + " |"
    yield "|---" * (6 + len(names)) + "|"
    for method, found in scores.items():
        values = list(found.values())
        means = [float(np.mean([getattr(one, key) for one in values])) for key in ("region", "contour", "both")]
        speed = sum(one.num_frames for one in values) / sum(one.seconds for one in values)
        cells = [method, *(f"{mean:.3f}" for mean in means), f"{np.mean([one.astray for one in values]):.0%}"]
        yield " | ".join(["", *cells, f"{speed:.1f}", *(f"{one.both:.3f}" for one in values), ""]).strip()


def draw_clips(folder: Path) -> tuple[str, ...]:
    """Two short drawn sequences, for `--smoke`."""
    from tests.helpers.clips import Clip

    for name, step in (("slow", 4), ("fast", 9)):
        clip = Clip((lambda i, step=step: (40 + step * i, 60),), 4)  # type: ignore[misc]
        (folder / name).mkdir()
        for i, frame in enumerate(clip.frames()):
            Image.fromarray(frame).save(folder / name / f"{i:05}.jpg")
            Image.fromarray(clip.truth(i)).save(folder / name / f"{i:05}.png")
    return ("--videos", str(folder), "--image-size", "256", "--threads", "1")


def main() -> None:
    """Print a table."""
    parser = make_parser(__doc__)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-size", type=int, help="side of the picture; the model's own unless given")
    parser.add_argument("--only", nargs="*", default=[], help="names of sequences; all by default")
    parser.add_argument("--strips", type=Path, help="folder for pictures of what was tracked")
    options = parse(parser, draw_clips)
    sam = mobilesam.load(options.model, backend=options.backend, threads=options.threads, image_size=options.image_size)
    scores: dict[str, dict[str, Score]] = {}
    for name, frames, truths in Sequences(options.videos):
        if options.only and name not in options.only:
            continue
        methods = {
            "box-only propagation": box_only(sam, False),
            "box-only propagation, second looks": box_only(sam, "auto"),
            "**track**, from a click": tracked(sam, click=True),
            "**track**, from a box": tracked(sam, click=False),
            "true box in every frame": true_boxes(sam, truths),
        }
        for method, follow in methods.items():
            start = time.perf_counter()
            masks = list(follow(frames, truths[0]))
            scores.setdefault(method, {})[name] = judge(masks, truths, time.perf_counter() - start)
            if options.strips is not None and method == "**track**, from a box":
                options.strips.mkdir(parents=True, exist_ok=True)
                strip(frames, masks, options.strips / f"{name}.jpg")
    print(f"{sam.info.image_size} px; {machine(options.threads, ('onnxruntime', 'opencv-python-headless'))}\n")
    print("\n".join(rows(scores)))


if __name__ == "__main__":
    main()
