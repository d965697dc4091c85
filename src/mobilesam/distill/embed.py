"""Computing the teacher's embedding of every photo once and storing it (arXiv 2306.14289, section 3.2).

A job in shards like `mobilesam.annotate`: any number of workers on any number of machines share one run, and a killed
one costs the shards that it was writing.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from mobilesam.data.checksums import photo_checksum
from mobilesam.data.store import Store, find_stores
from mobilesam.data.store_format import SUFFIX, StoreHeader
from mobilesam.data.store_writer import StoreWriter
from mobilesam.data.views import make_view
from mobilesam.distill.config import DistillRecipe
from mobilesam.distill.photos import reader_of
from mobilesam.distill.teacher import Teacher, load_teacher, memory_mb, store_header
from mobilesam.errors import DataError, ModelError
from mobilesam.image import MAX_PIXELS, Rgb, resize_long_side
from mobilesam.model.sam import Sam
from mobilesam.recipe import from_dict
from mobilesam.remote import fetch, find, is_remote
from mobilesam.shards.inputs import check_inputs, find_tasks, sources
from mobilesam.shards.job import Job, Shard, open_job
from mobilesam.shards.places import placed
from mobilesam.shards.plan import make_plan
from mobilesam.shards.report import write_errors, write_numbers
from mobilesam.shards.run import Outcome, Running, run_job
from mobilesam.shards.status import Status
from mobilesam.shards.tasks import Task
from mobilesam.shards.work import ShardResult, readable, writing
from mobilesam.shards.worker import Write
from mobilesam.train.build import pick_device
from mobilesam.train.photos import data_patterns

READERS = 4  # threads that decode photos while the teacher computes


class EmbedJob(Job):
    """A planned run of `mobilesam distill embed`."""

    kind: ClassVar[str] = "embed"

    @cached_property
    def recipe(self) -> DistillRecipe:
        """The sections of the recipe that decide embeddings; the others have their defaults."""
        return from_dict(DistillRecipe, self.choice)


class View(NamedTuple):
    """One view of a photo, ready to be embedded."""

    task: Task
    number: int
    """0 for the whole photo."""
    rgb: Rgb
    """(h, w, 3), resized."""
    checksum: str
    """Checksum of the photo's file."""


def embed(recipe: DistillRecipe, *, results: str = "", running: Running | None = None) -> Outcome:
    """Store the teacher's embedding of every photo of a recipe, in shards, resuming what is there.

    Args:
        recipe: names the teacher, the photos and the folder of the run.
        results: address in an object store for the stores; "" for the folder `shards` of the run.
        running: engine, workers and progress; None for the defaults.

    Raises:
        DataError: a data set cannot be read, the disk is full, or every worker ended with an error.
        ModelError: the teacher does not load.
        SettingsError: the folder holds a run of other photos, settings or another teacher.
    """
    check_inputs(data_patterns(recipe.data), Path(recipe.store.path))
    device = recipe.teacher.device
    running = (running or Running()).on(device, pick_device(device).type)
    running = replace(running, threads=running.threads or 1)
    teacher, threads = load_teacher(recipe.teacher), running.threads or 1
    job, megabytes = plan(recipe, teacher, results, threads), memory_mb(teacher, recipe.teacher.batch_size)
    del teacher  # each worker has its own

    def report(status: Status, seconds: float, new_photos: int) -> list[Path]:
        return write_report(job, status, seconds, new_photos)

    return run_job(job, begin, running, report, worker_mb=megabytes)


def plan(recipe: DistillRecipe, teacher: Sam, results: str = "", threads: int = 1) -> EmbedJob:
    """Plan a run, or open the plan that is there; errors are those of `embed`.

    Args:
        recipe, results: as of `embed`.
        teacher: the network of the recipe.
        threads: of each worker; part of the plan, because torch adds in another order with each number of them.
    """
    settings = {**asdict(store_header(teacher, recipe)), "batch_size": recipe.teacher.batch_size}
    settings["shard_photos"] = recipe.store.shard_photos
    if settings["value_range"] is None:  # as in runs from before there was this setting
        del settings["value_range"]
    if recipe.data.max_pixels != MAX_PIXELS:
        settings["max_pixels"] = recipe.data.max_pixels
    model = {key: settings.pop(key) for key in ("teacher", "image_size", "embed_dim")}
    choice = {
        "teacher": {**asdict(recipe.teacher), "checkpoint": absolute(recipe.teacher.checkpoint)},
        "store": asdict(recipe.store),
        "data": {key: getattr(recipe.data, key) for key in ("unclear_frame", "max_pixels", "value_range")},
    }
    inputs = [placed(one, is_pattern=True) for one in data_patterns(recipe.data)]
    folder = placed(recipe.data.photos) if recipe.data.photos else None
    reader = reader_of(recipe.data.unclear_frame)
    return make_plan(
        Path(recipe.store.path),
        EmbedJob,
        lambda listings: find_tasks(sources(inputs, folder, reader), listings),
        inputs=inputs,
        results=results,
        asked={"model": model, "device": recipe.teacher.device, "threads": threads, "settings": settings},
        choice=choice,
        suffix=SUFFIX,
        shard_photos=recipe.store.shard_photos,
        photos=folder,
    )


def absolute(checkpoint: str) -> str:
    """A checkpoint's path as workers in other folders find it; a name of `mobilesam models` as it is."""
    return str(Path(checkpoint).absolute()) if Path(checkpoint).exists() else checkpoint


def begin(folder: Path, threads: int | None) -> tuple[Job, Write]:
    """Open a run and load its teacher; see `shards.worker.Begin`.

    Raises:
        ModelError: the teacher here is not the one of the plan.
    """
    job = open_job(folder, EmbedJob)
    torch.set_num_threads(int(job.asked["threads"]))  # not what an engine has to give: other bytes would come out
    teacher = Teacher(load_teacher(job.recipe.teacher), job.recipe)
    if teacher.header.teacher != job.model["teacher"]:
        raise ModelError(
            f"'{job.recipe.teacher.checkpoint}' is not the teacher that '{folder}' was planned with; "
            "give this worker the same"
        )
    return job, lambda shard: embed_shard(job, shard, teacher)


def embed_shard(job: EmbedJob, shard: Shard, teacher: Teacher) -> None:
    """Write the store of one shard and its record; the same shard gives the same bytes, wherever it is done.

    Args:
        job: the run.
        shard: its photos, of one data set; one that cannot be read costs only itself.
        teacher: the network of the run.

    Raises:
        OSError: the result cannot be written.
    """
    dataset = shard.tasks[0].photo.dataset
    header = replace(teacher.header, shard=f"{dataset} {job.listings[dataset]}")
    result = ShardResult()

    def prepare(task: Task, encoded: bytes) -> list[View]:
        return read_views(task, encoded, header, job.recipe.data.max_pixels)

    with writing(job, shard, result) as path, StoreWriter(path, header) as store:
        opened = readable(shard, result, prepare, threads=READERS, most=4 * READERS)
        batch: list[View] = []
        for view in (view for _, views in opened for view in views):
            batch.append(view)
            if len(batch) == teacher.batch_size:
                add(store, batch, teacher, result)
                batch = []
        add(store, batch, teacher, result)
        skipped = {photo.removeprefix(f"{dataset}/"): reason for photo, reason in result.errors}
        result.photos, result.photos_failed = len(shard.tasks) - len(skipped), len(skipped)
        store.finish(skipped)


def add(store: StoreWriter, batch: list[View], teacher: Teacher, result: ShardResult) -> None:
    """Embed a batch of views and add them to a store; a photo whose embedding is not finite is noted."""
    if not batch:
        return
    answers = teacher.embed([view.rgb for view in batch]).float().cpu().numpy()
    for view, embedding in zip(batch, answers, strict=True):
        try:
            store.add(view.task.photo.path, view.number, teacher.crop(embedding, view.rgb), view.checksum)
        except DataError as error:
            result.errors.append([str(view.task.photo), str(error)])


def read_views(task: Task, encoded: bytes, header: StoreHeader, max_pixels: int = MAX_PIXELS) -> list[View]:
    """The resized views of one photo.

    Raises:
        ImageError: it is damaged, too large or no photo.
    """
    rgb = task.decode(encoded, max_pixels, header.unclear_frame, header.value_range)
    name, hw, checksum = task.photo.path, (rgb.shape[0], rgb.shape[1]), photo_checksum(encoded)
    views = [make_view(name, i, hw, header.view_seed) for i in range(header.views)]
    resized = [resize_long_side(np.ascontiguousarray(view.cut(rgb)), header.image_size) for view in views]
    return [View(task, i, seen, checksum) for i, seen in enumerate(resized)]


def write_report(job: EmbedJob, status: Status, seconds: float, new_photos: int) -> list[Path]:
    """Write report.json, report.md and errors.jsonl; returns them."""
    each = status.bytes / status.photos_done / 1e6 if status.photos_done else 0.0
    rows = [
        ("size of a photo's embeddings", f"{each:.2f} MB"),
        ("teacher", f"{job.recipe.teacher.checkpoint} at {job.model['image_size']} px"),
    ]
    numbers = write_numbers(job, status, title="Embedding run", wall_seconds=seconds, new_photos=new_photos, rows=rows)
    return [write_errors(job), *numbers]


def verify(folder: Path | str) -> dict[str, list[str]]:
    """Read and check every store completely: file → its damaged records.

    Args:
        folder: of the stores, or their address in an object store, from which they are copied one after the other.

    Raises:
        DataError: there is none, or one is no store at all.
        OSError: the object store does not answer.
    """
    if not is_remote(folder):
        return {str(file): Store(file).verify() for file in find_stores(Path(folder))}
    found = {}
    for url in (one for one in find(str(folder)) if one.endswith(SUFFIX)):
        with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # Windows keeps a file that is still mapped
            copy = Path(scratch) / url.rpartition("/")[2]
            fetch(url, copy)
            try:
                found[url] = Store(copy).verify()
            except DataError as error:
                raise DataError(f"{url}: {error}") from error
    if not found:
        raise DataError(f"'{folder}' holds no store of embeddings; give --results as it was given when they were made")
    return found
