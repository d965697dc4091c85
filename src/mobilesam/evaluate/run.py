"""Evaluation of all photos of all data sets, with a journal from which an interrupted run continues."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from mobilesam.data.layouts import expand, read_all
from mobilesam.data.photo import MALFORMED, Item, PhotoId, PhotoRef, Problem
from mobilesam.errors import DataError, OutputError, SettingsError
from mobilesam.evaluate.everything import require_coco_eval
from mobilesam.evaluate.photo import Models, evaluate_photo, load_models
from mobilesam.evaluate.records import PhotoResult
from mobilesam.evaluate.settings import EVERYTHING, EvaluateSettings
from mobilesam.files import replacing
from mobilesam.outputs import ALL
from mobilesam.text import parse_json


def find_photos(settings: EvaluateSettings) -> Iterator[Item]:
    """Every photo of every data set, and a `Problem` for each one that cannot be used.

    Raises:
        DataError: a data set is missing or has no known layout.
        SettingsError: a folder of photos is given, but no COCO or LVIS file that would use it.
    """
    if settings.images and not any(path.suffix == ".json" for path in expand(settings.data)):
        raise SettingsError("'images' (--images) does nothing here: only COCO and LVIS files (.json) use it")
    images = Path(settings.images) if settings.images else None
    return read_all(
        settings.data,
        photos=images,
        unclear_frame=settings.unclear_frame,
        max_pixels=settings.max_pixels,
        value_range=settings.value_range,
    )


def run(
    settings: EvaluateSettings,
    journal: Path,
    *,
    models: Models | None = None,
    workers: int = 1,
    on_result: Callable[[PhotoResult], None] = lambda result: None,
) -> tuple[list[PhotoResult], float]:
    """Evaluate every photo.

    Args:
        settings: the protocols, models and data sets.
        journal: file to which finished photos are appended; photos in it, of the same settings, are not run again.
        models: the models of these settings, if they are loaded already; worker processes load their own.
        workers: number of processes.
        on_result: called with each photo's result, from the journal or new, such as for a progress bar.

    Returns:
        One result per photo, in the order of the data, and the peak memory in MB of the largest process.

    Raises:
        DataError: a data set is missing or has no known layout.
        MissingExtraError: the protocol `everything` is used and faster-coco-eval is not installed.
        SettingsError: a setting has no effect, or the model does not support it.
    """
    if EVERYTHING in settings.protocols:
        require_coco_eval()
    items = list(find_photos(settings))
    done = read_journal(journal, settings)
    for result in done.values():
        on_result(result)
    waiting = [item for item in items if isinstance(item, PhotoRef) and item.id not in done]
    with journal.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(json.dumps({"fingerprint": settings.fingerprint}) + "\n")
        for result in compute(waiting, settings, models, workers):
            file.write(json.dumps(result.to_dict()) + "\n")
            file.flush()  # a kill then loses the photo in progress at most
            done[result.photo] = result
            on_result(result)
    # Problems of the reader are not looked up by identity: it may equal that of a valid photo.
    results = [to_result(item) if isinstance(item, Problem) else done[item.id] for item in items]
    return results, peak_memory_mb()


def to_result(problem: Problem) -> PhotoResult:
    """The result for a photo that the reader of its data set cannot use."""
    return PhotoResult(photo=problem.id, is_read=False, problems=(problem,))


def compute(
    photos: Sequence[PhotoRef], settings: EvaluateSettings, models: Models | None, workers: int
) -> Iterator[PhotoResult]:
    """Evaluate photos in this process or in several; results are in the order of the photos."""
    if not photos:
        return
    if workers <= 1 or len(photos) < 2:
        loaded = models or load_models(settings)
        yield from (evaluate_photo(loaded, photo, settings) for photo in photos)
        return
    # Not "fork": onnxruntime hangs in a forked process, because its threads are not forked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (settings,)) as pool:
        yield from pool.map(_work, photos)


_worker: list[tuple[Models, EvaluateSettings]] = []
"""In a worker process: its models, loaded once, and the settings."""


def _start_worker(settings: EvaluateSettings) -> None:
    # Each worker has one thread; a pool of OpenBLAS threads in each would compete for the same cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _worker.append((load_models(settings), settings))


def _work(photo: PhotoRef) -> PhotoResult:
    models, settings = _worker[0]
    return evaluate_photo(models, photo, settings)


def read_journal(path: Path, settings: EvaluateSettings) -> dict[PhotoId, PhotoResult]:
    """Results of an interrupted run with the same settings; lines that are damaged or cut off are dropped.

    A kill cuts off the last line, and a power cut leaves zeros; these photos are evaluated again. A journal of other
    settings is deleted, because its results must not be mixed in.

    Raises:
        OutputError: the file was not written by us.
    """
    if not path.exists():
        return {}
    first, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    if first.endswith(b"\n") and b'{"fingerprint": "' not in first and first.strip(b"\0\n"):
        raise OutputError(f"'{path}' is no journal of an evaluation; move it, or give another --output")
    if not is_of(first, settings):
        path.unlink()
        return {}
    kept = [(line, result) for line in lines if (result := parse_line(line)) is not None]
    # Written back without the dropped lines, or the next result would be appended to a cut-off one.
    with replacing(path, ALL) as partial:
        partial.write_bytes(b"".join([first, *(line for line, _ in kept)]))
    return {result.photo: result for _, result in kept}


def is_of(first: bytes, settings: EvaluateSettings) -> bool:
    """Whether the first line of a journal is of these settings."""
    try:
        record = parse_json(first)
    except DataError:
        return False
    return first.endswith(b"\n") and isinstance(record, dict) and record.get("fingerprint") == settings.fingerprint


def parse_line(line: bytes) -> PhotoResult | None:
    """The result in a line of a journal; None where the line is damaged or cut off."""
    try:
        return PhotoResult.from_dict(parse_json(line)) if line.endswith(b"\n") else None
    except MALFORMED:
        return None


def peak_memory_mb() -> float:
    """Peak memory in MB of this process or of its largest child process; 0 on Windows, which does not report it."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usages) / unit
