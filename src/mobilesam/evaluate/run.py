"""Evaluation of all photos of all data sets, with a journal from which an interrupted run continues."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from mobilesam.data.checksums import state_checksum
from mobilesam.data.layouts import check_folder, expand, read_all
from mobilesam.data.pairs import check_layout
from mobilesam.data.photo import Item, PhotoRef, Problem
from mobilesam.errors import DataError, OutOfMemoryError
from mobilesam.evaluate.everything import require_coco_eval
from mobilesam.evaluate.journal import head_line, identify, read_journal, to_line
from mobilesam.evaluate.photo import Models, evaluate_photo, load_models
from mobilesam.evaluate.records import EvaluatedPhoto
from mobilesam.evaluate.settings import EVERYTHING, EvaluateSettings
from mobilesam.predict.identity import precision_of
from mobilesam.processes import peak_mb
from mobilesam.remote import copy_first, is_remote
from mobilesam.settings import check_workers


def find_photos(settings: EvaluateSettings) -> Iterator[Item]:
    """Every photo of every data set, and a `Problem` for each one that cannot be used.

    Raises:
        DataError: a data set is missing, in an object store, or has no known layout.
        SettingsError: a folder of photos is given, but no COCO or LVIS file that would use it.
    """
    if settings.images:
        check_folder(settings.data, "'images' (--images)")
    images = Path(settings.images) if settings.images else None
    return read_all(
        settings.data,
        photos=images,
        unclear_frame=settings.unclear_frame,
        max_pixels=settings.max_pixels,
        value_range=settings.value_range,
    )


def check_inputs(settings: EvaluateSettings, workers: int = 1) -> None:
    """Check what is known before a model is loaded: data sets, extras, and the number of processes.

    Raises:
        DataError: a data set is missing, in an object store, or has no known layout.
        MissingExtraError: the protocol `everything` is used and faster-coco-eval is not installed.
        SettingsError: a folder of photos has no effect, or there are too many workers.
    """
    check_workers(workers)
    if settings.images:
        if is_remote(settings.images):
            raise DataError(copy_first(settings.images))
        check_folder(settings.data, "'images' (--images)")
    for path in expand(settings.data):
        check_layout(path)
    if EVERYTHING in settings.protocols:
        require_coco_eval()


def run(
    settings: EvaluateSettings,
    journal: Path,
    *,
    models: Models | None = None,
    workers: int = 1,
    on_result: Callable[[EvaluatedPhoto], None] = lambda result: None,
) -> tuple[list[EvaluatedPhoto], float]:
    """Evaluate every photo.

    Args:
        settings: the protocols, models and data sets.
        journal: file to which finished photos are appended. Photos in it are not run again, unless the settings, the
            weights of a model, the photo or its annotation have changed.
        models: the models of these settings, if they are loaded already; worker processes load their own.
        workers: number of processes.
        on_result: called with each photo's result, from the journal or new, such as for a progress bar.

    Returns:
        One result per photo, in the order of the data, and the peak memory in MB of the largest process.

    Raises:
        DataError: a data set is missing, in an object store, or has no known layout.
        MissingExtraError: the protocol `everything` is used and faster-coco-eval is not installed.
        OutOfMemoryError: a worker process was ended from outside, as systems do that run out of memory.
        SettingsError: a setting has no effect, the model does not support it, or there are too many workers.
    """
    check_inputs(settings, workers)
    items = list(find_photos(settings))
    models = models or load_models(settings)
    fingerprint = identify(settings, models)
    # Taken before any photo is opened: one that changes meanwhile does not match its line in the next run.
    states = {item.id: state_checksum(item) for item in items if isinstance(item, PhotoRef)}
    done = read_journal(journal, fingerprint, states)
    for result in done.values():
        on_result(result)
    waiting = [item for item in items if isinstance(item, PhotoRef) and item.id not in done]
    memory = [peak_mb()]
    with journal.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(head_line(fingerprint))
        for result, megabytes in compute(waiting, settings, models, workers):
            memory.append(megabytes)
            file.write(to_line(result, states[result.photo]))
            file.flush()  # a kill then loses the photo in progress at most
            done[result.photo] = result
            on_result(result)
    # Problems of the reader are not looked up by identity: it may equal that of a valid photo.
    results = [to_result(item) if isinstance(item, Problem) else done[item.id] for item in items]
    return results, max(memory)


def to_result(problem: Problem) -> EvaluatedPhoto:
    """The result for a photo that the reader of its data set cannot use."""
    return EvaluatedPhoto(photo=problem.id, is_read=False, problems=(problem,))


def compute(
    photos: Sequence[PhotoRef], settings: EvaluateSettings, models: Models, workers: int
) -> Iterator[tuple[EvaluatedPhoto, float]]:
    """Evaluate photos in this process or in several.

    Yields:
        The result of each photo, in their order, and the peak memory in MB of the process that computed it, so far.
    """
    if not photos:
        return
    workers = min(workers, len(photos))
    if workers <= 1:
        yield from ((evaluate_photo(models, photo, settings), peak_mb()) for photo in photos)
        return
    # Not "fork": onnxruntime hangs in a forked process, because its threads are not forked.
    context = multiprocessing.get_context("spawn")
    count = 0
    computed = replace(settings, precision=precision_of(models.student.backend))  # said once, by this process
    with ProcessPoolExecutor(workers, context, _start_worker, (computed,)) as pool:
        try:
            for result in pool.map(_work, photos):
                count += 1
                yield result
        except BrokenProcessPool as error:
            raise OutOfMemoryError(
                f"a worker process was ended from outside at photo '{photos[count].id}' or one of the next, most "
                f"likely because memory ran out: run the same command again with fewer than {workers} workers "
                "(--workers); photos that are finished are kept"
            ) from error


_worker: list[tuple[Models, EvaluateSettings]] = []
"""In a worker process: its models, loaded once, and the settings."""


def _start_worker(settings: EvaluateSettings) -> None:
    # Each worker has one thread; a pool of OpenBLAS threads in each would compete for the same cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _worker.append((load_models(settings), settings))


def _work(photo: PhotoRef) -> tuple[EvaluatedPhoto, float]:
    models, settings = _worker[0]
    return evaluate_photo(models, photo, settings), peak_mb()
