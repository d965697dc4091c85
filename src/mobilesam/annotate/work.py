"""The work on one shard: photos in, one file of masks out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from mobilesam import boxes
from mobilesam.ahead import read_ahead
from mobilesam.annotate.forms import open_writer
from mobilesam.annotate.job import Job, Shard
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.annotate.tasks import Ask, Task
from mobilesam.errors import MobileSamError, PromptError, first_line
from mobilesam.everything.generate import segment_everything
from mobilesam.everything.results import sa1b_mask
from mobilesam.files import save_json
from mobilesam.image import Rgb
from mobilesam.outputs import ALL
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.prompts import make_prompt
from mobilesam.predict.results import Mask
from mobilesam.remote import placing

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
    with placing(job.result(shard.name)) as path:
        with open_writer(job.settings.form, path, job.identity) as writer:
            opening = partial(open_task, max_pixels=job.settings.max_pixels)
            for task, opened in read_ahead(shard.tasks, opening, threads=2, most=READ_AHEAD):
                if isinstance(opened, str):
                    result.errors.append([str(task.photo), opened])
                else:
                    add(result, annotate_photo(task, *opened, predictor, job.settings, result.errors), writer.add)
        result.bytes = path.stat().st_size
    result.worst = sorted(result.worst)[:5]
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
    """The bytes and the pixels of a photo, or why it cannot be read."""
    try:
        encoded = task.read()
        return encoded, task.decode(encoded, max_pixels)
    except (MobileSamError, OSError, ValueError) as error:
        return first_line(error)


def annotate_photo(
    task: Task, encoded: bytes, rgb: Rgb, predictor: Predictor, settings: AnnotateSettings, errors: list[list[str]]
) -> Annotated:
    """Find the masks of one photo; prompts that do not fit it are added to `errors`."""
    hw = (rgb.shape[0], rgb.shape[1])
    if settings.prompts == "everything":
        found = segment_everything(predictor, rgb, settings=settings.everything)
        return Annotated(task, encoded, hw, [mask.to_sa1b() for mask in found])
    usable = []
    for ask in task.asks:
        try:
            make_prompt(hw, points=ask.point_xy, box=ask.box_xyxy)
            usable.append(ask)
        except PromptError as error:
            errors.append([f"{task.photo}#{ask.id}", first_line(error)])
    return Annotated(task, encoded, hw, answer(rgb, usable, predictor, settings) if usable else [])


def answer(rgb: Rgb, asks: list[Ask], predictor: Predictor, settings: AnnotateSettings) -> list[Record]:
    """One mask for each prompt, in their order; boxes and points each in one batch."""
    image = predictor.embed(rgb)
    zoom = {"auto": "auto", "on": True, "off": False}[settings.zoom]
    found: dict[int, Mask] = {}
    for kind, name in (("box_xyxy", "boxes"), ("point_xy", "points")):
        rows = [i for i, ask in enumerate(asks) if getattr(ask, kind) is not None]
        if rows:
            values = [getattr(asks[i], kind) for i in rows]
            predictions = image.predict_batch(**{name: values}, zoom=zoom)  # type: ignore[arg-type]
            found |= {i: prediction.best for i, prediction in zip(rows, predictions, strict=True)}
    return [to_record(found[i], ask) for i, ask in enumerate(asks)]


def to_record(mask: Mask, ask: Ask) -> Record:
    """A mask in SA-1B's schema, with the prompt it answers."""
    record: Record = {**sa1b_mask(mask), "prompt_id": ask.id}
    if ask.box_xyxy is not None:
        record["prompt_box"] = boxes.xyxy_to_xywh(ask.box_xyxy)  # type: ignore[arg-type]
    if ask.point_xy is not None:
        record["point_coords"] = [list(ask.point_xy)]
    given = {"category_id": ask.category_id, "prompt_score": ask.score}
    return record | {key: value for key, value in given.items() if value is not None}
