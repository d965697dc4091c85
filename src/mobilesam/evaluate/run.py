"""Run protocols over a data set: each photo encoded once, results journalled as they come, so a kill loses nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam.errors import DataError
from mobilesam.evaluate.everything import EVERYTHING, recall
from mobilesam.evaluate.metrics import Mask, boundary_iou, components, iou, size_class
from mobilesam.evaluate.protocols import PROTOCOLS, Answer, Question
from mobilesam.evaluate.readers import read
from mobilesam.evaluate.samples import PixelShape, Problem, Sample, TruthRef, check_size
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.everything.generate import segment_everything
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.zoom import Zoom

Result = dict[str, Any]
"""What one photo leaves: name, source, rows, problems, left_out, seconds."""


@dataclass(frozen=True)
class Models:
    """The model under test and, for some protocols, the one it is compared with."""

    student: Predictor
    teacher: Predictor | None


def load_models(settings: EvaluateSettings) -> Models:
    """One thread each: work is spread over processes, and digits do not depend on how many there are."""
    student = load(
        settings.model,
        backend=settings.backend,
        device=settings.device,
        threads=1,
        precision=settings.precision,
        image_size=settings.image_size,
    )
    return Models(student, load(settings.teacher, device=settings.device, threads=1) if settings.teacher else None)


def read_all(settings: EvaluateSettings) -> Iterator[Sample | Problem]:
    """Every photo of every data set."""
    images = Path(settings.images) if settings.images else None
    return chain.from_iterable(read(Path(path), images=images) for path in settings.data)


def evaluate_sample(models: Models, item: Sample | Problem, settings: EvaluateSettings) -> Result:
    """All protocols on one photo; what cannot be read becomes a problem with a name."""
    result: Result = {"name": item.name, "rows": [], "problems": [], "left_out": 0, "seconds": {}}
    if isinstance(item, Problem):
        result["problems"].append([item.name, item.reason])
        return result
    result["source"] = item.source
    try:
        image, result["seconds"] = encode(models.student, item)
        teacher = models.teacher.embed(image.photo) if models.teacher and image.photo is not None else None
    except (DataError, ValueError) as error:
        result["problems"].append([item.name, str(error)])
        return result
    objects = list(decode_objects(item, image.original_hw, result["problems"]))
    chosen = choose(objects, settings, result)
    if EVERYTHING in settings.protocols and image.photo is not None:
        result["everything"] = search(models.student, image, [truth for _, truth, _ in chosen], settings)
    for reference, truth, ignored in chosen:
        for name in settings.per_object:
            answer = ask(name, reference.id, image, truth, ignored, teacher, settings.zoom)
            if answer is None:
                result["left_out"] += 1
            else:
                result["rows"].append(to_row(name, item, reference.id, answer, truth, ignored))
    return result


def search(sam: Predictor, image: ImageEmbedding, truths: list[Mask], settings: EvaluateSettings) -> dict[str, Any]:
    """What `everything` finds of a photo's objects: average recalls, number of masks and of prompts, seconds."""
    assert image.photo is not None
    photo = image.photo if settings.everything.crop_n_layers else image  # crops are encoded anew
    passes: list[int] = []  # prompts of each pass of the search, once it is through

    def count(asked: int, total: int) -> None:
        if asked == total:
            passes.append(total)

    start = time.perf_counter()
    found = segment_everything(sam, photo, settings=settings.everything, progress=count)
    seconds = time.perf_counter() - start
    counts = {"num_masks": len(found), "num_prompts": sum(passes)}
    result: dict[str, Any] = {**counts, "seconds": seconds, "num_objects": len(truths)}
    if not truths:  # there is no recall of nothing
        return result
    return result | recall([(mask.rle, mask.predicted_iou) for mask in found], truths)


def encode(sam: Predictor, sample: Sample) -> tuple[ImageEmbedding, dict[str, float]]:
    """The photo's embedding, and the seconds of one click on it, part by part, without a second look.

    open: file to pixels; encode: resize and encoder; prompt: checks and scaling; decode: the decoder; upscale: three
    masks to the photo's size.
    """
    marks = [time.perf_counter()]

    def lap() -> float:
        marks.append(time.perf_counter())
        return marks[-1] - marks[-2]

    rgb = sample.open()
    seconds = {"open": lap()}
    image = sam.embed(rgb)
    seconds["encode"] = lap()
    timer = DecodeTimer(image)
    found = timer.image.predict(points=[(0, 0)], multimask=True, zoom=False)
    seconds["prompt"] = lap() - timer.seconds
    seconds["decode"] = timer.seconds
    _ = found.masks
    seconds["upscale"] = lap()
    return image, seconds


class DecodeTimer:
    """A backend that passes everything on and notes how long the decoder took."""

    def __init__(self, image: ImageEmbedding) -> None:
        self.backend = image.backend
        self.info = image.backend.info
        self.encode = image.backend.encode
        self.seconds = 0.0
        self.image = ImageEmbedding(self, image.array, image.original_hw, image.input_hw)

    def decode(self, *arrays: Any) -> Any:
        """As the backend's."""
        start = time.perf_counter()
        answer = self.backend.decode(*arrays)
        self.seconds += time.perf_counter() - start
        return answer


Truth = tuple[TruthRef, Mask, Mask | None]


def decode_objects(sample: Sample, hw: tuple[int, int], problems: list[list[str]]) -> Iterator[Truth]:
    """(reference, mask, ignored pixels) of every object that can be decoded; crowds are no objects."""
    for reference in sample.objects:
        if reference.is_crowd:
            continue
        try:
            truth = check_size(reference.shape.mask(hw), hw, reference.id)
            ignored = reference.shape.ignored() if isinstance(reference.shape, PixelShape) else None
        except (DataError, ValueError, TypeError) as error:
            problems.append([reference.id, f"broken annotation: {error}"])
            continue
        yield reference, truth, ignored


def choose(objects: list[Truth], settings: EvaluateSettings, result: Result) -> list[Truth]:
    """Objects large enough, and the largest of them when only some are wanted."""
    areas = [int(truth.sum()) for _, truth, _ in objects]
    kept = [i for i in np.argsort(areas, kind="stable")[::-1] if areas[i] >= max(1, settings.min_area)]
    kept = kept[: settings.max_objects or None]
    result["left_out"] += len(objects) - len(kept)
    return [objects[i] for i in sorted(kept)]


def ask(
    protocol: str,
    object_id: str,
    image: ImageEmbedding,
    truth: Mask,
    ignored: Mask | None,
    teacher: ImageEmbedding | None,
    zoom: Zoom,
) -> Answer | None:
    """Put one question; its random draws hang on the protocol and the object alone."""
    rng = np.random.default_rng(zlib.crc32(f"{protocol}/{object_id}".encode()))
    return PROTOCOLS[protocol](Question(image, truth, ignored, rng, teacher, zoom))


def to_row(
    protocol: str, sample: Sample, object_id: str, answer: Answer, truth: Mask, ignored: Mask | None
) -> dict[str, Any]:
    """One line of the report."""
    against = truth if answer.against is None else answer.against
    ignored = ignored if answer.against is None else None
    distances = [value for key, value in answer.extra.items() if key.startswith("iou_")]
    area = int(truth.sum())
    return {
        "protocol": protocol,
        "photo": sample.name,
        "object": object_id,
        "source": sample.source,
        "iou": float(np.mean(distances)) if distances else iou(answer.mask, against, ignored),
        "boundary_iou": boundary_iou(answer.mask, against, ignored),
        "components": components(answer.mask),
        "area": area,
        "size": size_class(area),
        "score": answer.score,
        "points": answer.points,
        "labels": answer.labels,
        "box": answer.box,
        **answer.extra,
    }


def run(
    settings: EvaluateSettings,
    journal: Path,
    *,
    models: Models | None = None,
    workers: int = 1,
    on_result: Callable[[Result], None] = lambda result: None,
) -> tuple[list[Result], float]:
    """Evaluate every photo.

    Args:
        settings: what to run.
        journal: finished photos are appended here; those already there, of the same settings, are not run again.
        models: of these settings, where they are loaded already; processes of their own load their own.
        workers: processes.
        on_result: called with each photo's result, old or new, for a progress bar.

    Returns:
        One result per photo, in the order of the data, and the peak memory in MB of the largest process.
    """
    done = read_journal(journal, settings)
    items = list(read_all(settings))
    results = dict(done)
    for result in done.values():
        on_result(result)
    waiting = [item for item in items if item.name not in done]
    with journal.open("a", encoding="utf-8") as file:
        if not done:
            file.write(json.dumps({"fingerprint": settings.fingerprint}) + "\n")
        for result in compute(waiting, settings, models, workers):
            line = json.dumps(result)
            file.write(line + "\n")
            file.flush()
            results[result["name"]] = json.loads(line)  # tuples become lists now as they would after a kill
            on_result(result)
    return [results[item.name] for item in items if item.name in results], peak_memory_mb()


def compute(
    items: list[Sample | Problem], settings: EvaluateSettings, models: Models | None, workers: int
) -> Iterator[Result]:
    """Results in order, from this process or from several."""
    if not items:
        return
    if workers <= 1 or len(items) < 2:
        loaded = models or load_models(settings)
        yield from (evaluate_sample(loaded, item, settings) for item in items)
        return
    context = multiprocessing.get_context("spawn")  # a forked onnxruntime hangs
    with ProcessPoolExecutor(workers, context, _start_worker, (settings,)) as pool:
        yield from pool.map(_work, items)


_state: dict[str, Any] = {}


def _start_worker(settings: EvaluateSettings) -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _state.update(models=load_models(settings), settings=settings)


def _work(item: Sample | Problem) -> Result:
    return evaluate_sample(_state["models"], item, _state["settings"])


def read_journal(path: Path, settings: EvaluateSettings) -> dict[str, Result]:
    """Finished photos of an earlier run with the same settings; a line cut off by a kill is dropped.

    A journal of other settings is set aside by starting it anew.
    """
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if not whole or json.loads(whole[0]).get("fingerprint") != settings.fingerprint:
        path.unlink()
        return {}
    path.write_text("".join(whole), encoding="utf-8")
    results = [json.loads(line) for line in whole[1:]]
    return {result["name"]: result for result in results}


def peak_memory_mb() -> float:
    """Of this process or its largest child; 0 where the system does not say (Windows)."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usages) / unit
