"""The work on one shard: photos in, one file of masks out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilesam import boxes
from mobilesam.annotate.forms import open_writer
from mobilesam.annotate.job import AnnotateJob
from mobilesam.annotate.looks import Looked, SecondLooks
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.errors import ImageError, PromptError, first_line
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.results import sa1b_mask
from mobilesam.image import Rgb, within_memory
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.prompts import make_prompt
from mobilesam.predict.results import Mask, Prediction
from mobilesam.shards.job import Job, Shard, open_job
from mobilesam.shards.tasks import Ask, Task
from mobilesam.shards.work import ShardResult, readable, writing
from mobilesam.shards.worker import Write

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
class MaskResult(ShardResult):
    """Summary of one shard of masks."""

    masks: int = 0
    second_looks: int = 0
    second_look_seconds: float = 0.0
    unclear_frames: int = 0
    """Photos with prompts and an EXIF orientation for which `unclear_frame` was assumed."""
    worst: list[list[Any]] = field(default_factory=list)
    """(mean score, photo, number of masks) of the photos with the lowest scores."""


def begin(folder: Path, threads: int | None) -> tuple[Job, Write]:
    """Open a run and load its model; see `shards.worker.Begin`.

    Raises:
        ModelError: the model here is not the one of the plan.
    """
    job = open_job(folder, AnnotateJob)
    predictor = job.open_model(threads)
    return job, lambda shard: annotate_shard(job, shard, predictor)


def annotate_shard(job: AnnotateJob, shard: Shard, predictor: Predictor) -> None:
    """Write the masks of one shard and its record; the same shard gives the same bytes, wherever it is done.

    Args:
        job: the run.
        shard: its photos; one that cannot be read costs only itself.
        predictor: the model of the run.

    Raises:
        OSError: the result cannot be written.
    """
    result, settings = MaskResult(), job.settings
    work = everything if settings.prompts == "everything" else answer_prompts

    unclear: list[Task] = []

    def prepare(task: Task, encoded: bytes) -> tuple[bytes, Rgb]:
        if settings.prompts == "given" and not task.has_clear_frame(encoded, settings.max_pixels):
            unclear.append(task)  # in threads, where a list is safe and a sum is not
        return encoded, decode(task, encoded, settings)

    photo_ids = [task.photo for task in shard.tasks]
    with writing(job, shard, result) as path, open_writer(settings.form, path, job.identity, photo_ids) as writer:
        opened = readable(shard, result, prepare, threads=2, most=READ_AHEAD)
        photos = ((task, encoded, rgb) for task, (encoded, rgb) in opened)
        for photo in work(photos, predictor, settings, result):
            add(result, photo, writer.add)
        result.worst = sorted(result.worst)[:5]
        result.unclear_frames = len(unclear)


def decode(task: Task, encoded: bytes, settings: AnnotateSettings, *, max_side: int | None = None) -> Rgb:
    """Decode a photo of a run; see `Task.decode`."""
    return task.decode(encoded, settings.max_pixels, settings.unclear_frame, settings.value_range, max_side)


def add(result: MaskResult, photo: Annotated, write: Callable[[Annotated], None]) -> None:
    """Write one photo and count it."""
    write(photo)
    scores = [record["predicted_iou"] for record in photo.records]
    result.photos += 1
    result.masks += len(scores)
    mean = sum(scores) / len(scores) if scores else 0.0
    result.worst.append([round(mean, 4), str(photo.task.photo), len(scores)])


Opened = tuple[Task, bytes, Rgb]


def everything(
    photos: Iterator[Opened], predictor: Predictor, settings: AnnotateSettings, result: MaskResult
) -> Iterator[Annotated]:
    """All masks of each photo."""
    for task, encoded, rgb in photos:
        try:
            with within_memory("the photo"):
                found = segment_everything(predictor, rgb, settings=settings.everything)
        except ImageError as error:
            give_up(task, error, result)
            continue
        yield Annotated(task, encoded, (rgb.shape[0], rgb.shape[1]), [mask.to_sa1b() for mask in found])


def answer_prompts(
    photos: Iterator[Opened], predictor: Predictor, settings: AnnotateSettings, result: MaskResult
) -> Iterator[Annotated]:
    """One mask for each prompt, in their order; the regions of second looks are encoded across photos."""
    looks = SecondLooks(predictor.backend, settings.zoom, settings.zoom_batch or 1)
    for task, encoded, rgb in photos:
        try:
            with within_memory("the photo"):
                photo = first_look(task, encoded, rgb, predictor, result.errors)
        except ImageError as error:
            give_up(task, error, result)
            continue
        yield from map(finish, looks.put(photo))
    yield from map(finish, looks.end())
    result.second_looks, result.second_look_seconds = looks.count, round(looks.seconds, 3)


def give_up(task: Task, error: ImageError, result: MaskResult) -> None:
    """Note a photo that is too large for the memory; the others of its shard are done."""
    result.errors.append([str(task.photo), first_line(error)])
    result.photos_failed += 1


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
