"""The work on one shard: photos in, one file of masks out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from mobilesam import boxes
from mobilesam.ahead import read_ahead
from mobilesam.annotate.forms import open_writer
from mobilesam.annotate.job import Job, Shard
from mobilesam.annotate.looks import Looked, SecondLooks
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.tasks import Ask, Task
from mobilesam.errors import MobileSamError, PromptError, first_line
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.results import sa1b_mask
from mobilesam.files import save_json
from mobilesam.image import Rgb
from mobilesam.memory import peak_mb
from mobilesam.outputs import ALL
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.prompts import make_prompt
from mobilesam.predict.results import Mask, Prediction
from mobilesam.predict.zoom import Zoom
from mobilesam.remote import is_lost, placing

READ_AHEAD = 4  # photos decoded while the model runs on another

Record = dict[str, Any]


@dataclass(frozen=True)
class Annotated:
    """A photo with its masks."""

    task: Task
    encoded: bytes
    """The bytes of its file."""
    hw: tuple[int, int]
    records: list[Record]
    """One for each mask, in SA-1B's schema, with the prompt it answers."""


@dataclass
class ShardResult:
    """Summary of one shard, as written to its record."""

    photos: int = 0
    masks: int = 0
    errors: list[list[str]] = field(default_factory=list)
    """(photo, reason) of each photo or prompt without a result."""
    bytes: int = 0
    """Size of the file."""
    second_looks: int = 0
    second_look_seconds: float = 0.0
    peak_mb: float = 0.0
    """Peak memory of the worker so far; 0 where the system does not tell."""
    worst: list[list[Any]] = field(default_factory=list)
    """(mean score, photo, number of masks) of the photos with the lowest scores."""


def annotate_shard(job: Job, shard: Shard, predictor: Predictor) -> None:
    """Write the masks of one shard and its record; the same shard gives the same bytes, wherever it is done.

    Args:
        job: the run.
        shard: its photos; one that cannot be read costs only itself.
        predictor: the model of the run.

    Raises:
        OSError: the result cannot be written.
    """
    result, started = ShardResult(), time.perf_counter()
    work = everything if job.settings.prompts == "everything" else answer_prompts
    with placing(job.result(shard.name)) as path:
        with open_writer(job.settings.form, path, job.identity) as writer:
            opening = partial(open_task, max_pixels=job.settings.max_pixels)
            opened = read_ahead(shard.tasks, opening, threads=2, most=READ_AHEAD)
            for photo in work(readable(opened, result), predictor, job.settings, result):
                add(result, photo, writer.add)
        result.bytes = path.stat().st_size
    result.worst, result.peak_mb = sorted(result.worst)[:5], round(peak_mb(), 1)
    save_json({**asdict(result), "seconds": round(time.perf_counter() - started, 2)}, job.done_file(shard.name), ALL)


def add(result: ShardResult, photo: Annotated, write: Callable[[Annotated], None]) -> None:
    """Write one photo and count it."""
    write(photo)
    scores = [record["predicted_iou"] for record in photo.records]
    result.photos += 1
    result.masks += len(scores)
    mean = sum(scores) / len(scores) if scores else 0.0
    result.worst.append([round(mean, 4), str(photo.task.photo), len(scores)])


def open_task(task: Task, max_pixels: int) -> tuple[bytes, Rgb] | str:
    """The bytes and the pixels of a photo, or why it cannot be read.

    Raises:
        OSError: all photos are gone, with their store or their network folder.
    """
    try:
        encoded = task.read()
        return encoded, task.decode(encoded, max_pixels)
    except (MobileSamError, OSError, ValueError) as error:
        if is_lost(error):
            raise
        return first_line(error)


Opened = tuple[Task, bytes, Rgb]


def readable(photos: Iterator[tuple[Task, tuple[bytes, Rgb] | str]], result: ShardResult) -> Iterator[Opened]:
    """The photos that could be opened; the others are noted."""
    for task, opened in photos:
        if isinstance(opened, str):
            result.errors.append([str(task.photo), opened])
        else:
            yield task, *opened


def everything(
    photos: Iterator[Opened], predictor: Predictor, settings: AnnotateSettings, result: ShardResult
) -> Iterator[Annotated]:
    """All masks of each photo."""
    for task, encoded, rgb in photos:
        found = segment_everything(predictor, rgb, settings=settings.everything)
        yield Annotated(task, encoded, (rgb.shape[0], rgb.shape[1]), [mask.to_sa1b() for mask in found])


def answer_prompts(
    photos: Iterator[Opened], predictor: Predictor, settings: AnnotateSettings, result: ShardResult
) -> Iterator[Annotated]:
    """One mask for each prompt, in their order; the regions of second looks are encoded across photos."""
    zoom: Zoom = {"auto": "auto", "on": True, "off": False}[settings.zoom]  # type: ignore[assignment]
    looks = SecondLooks(predictor.backend, zoom, settings.zoom_batch)
    for task, encoded, rgb in photos:
        photo = first_look(task, encoded, rgb, predictor, result.errors)
        yield from map(finish, looks.put(photo))
    yield from map(finish, looks.end())
    result.second_looks, result.second_look_seconds = looks.count, round(looks.seconds, 3)


def first_look(task: Task, encoded: bytes, rgb: Rgb, predictor: Predictor, errors: list[list[str]]) -> Looked:
    """Answer the prompts of one photo, boxes and points each in one batch; those that do not fit it become errors."""
    photo = Looked(task, encoded, rgb, [], [], [])
    for ask in task.asks:
        try:
            photo.prompts.append(make_prompt((rgb.shape[0], rgb.shape[1]), points=ask.point_xy, box=ask.box_xyxy))
            photo.asks.append(ask)
        except PromptError as error:
            errors.append([f"{task.photo}#{ask.id}", first_line(error)])
    if not photo.asks:
        return photo
    image, found = predictor.embed(rgb), dict[int, Prediction]()
    for kind, name in (("box_xyxy", "boxes"), ("point_xy", "points")):
        rows = [i for i, ask in enumerate(photo.asks) if getattr(ask, kind) is not None]
        if rows:
            values = [getattr(photo.asks[i], kind) for i in rows]
            answers = image.predict_batch(**{name: values}, zoom=False)  # type: ignore[arg-type]
            found |= dict(zip(rows, answers, strict=True))
    photo.answers = [found[i] for i in range(len(photo.asks))]
    return photo


def finish(photo: Looked) -> Annotated:
    """A photo whose second looks are done, with the best mask of each prompt."""
    records = [to_record(answer.best, ask) for answer, ask in zip(photo.answers, photo.asks, strict=True)]
    return Annotated(photo.task, photo.encoded, (photo.rgb.shape[0], photo.rgb.shape[1]), records)


def to_record(mask: Mask, ask: Ask) -> Record:
    """A mask in SA-1B's schema, with the prompt it answers."""
    record: Record = {**sa1b_mask(mask), "prompt_id": ask.id}
    if ask.box_xyxy is not None:
        record["prompt_box"] = boxes.xyxy_to_xywh(ask.box_xyxy)  # type: ignore[arg-type]
    if ask.point_xy is not None:
        record["point_coords"] = [list(ask.point_xy)]
    given = {"category_id": ask.category_id, "prompt_score": ask.score}
    return record | {key: value for key, value in given.items() if value is not None}
