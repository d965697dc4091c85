"""Planning of an annotation run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mobilesam.annotate.job import SUFFIX, AnnotateJob, ModelChoice
from mobilesam.annotate.prompts import PromptFile, annotated_boxes
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.data.checksums import Listings
from mobilesam.data.photo import PhotoRef, Problem
from mobilesam.errors import DataError
from mobilesam.predict.predictor import Predictor
from mobilesam.shards import plan
from mobilesam.shards.inputs import find_tasks, sources
from mobilesam.shards.tasks import Ask, Task


def make_plan(
    inputs: Sequence[str],
    output: Path,
    predictor: Predictor,
    choice: ModelChoice,
    settings: AnnotateSettings,
    *,
    prompts: Path | None = None,
    photos: Path | None = None,
    results: str = "",
) -> AnnotateJob:
    """Plan a run, or open the plan that is there.

    Args:
        inputs: see `shards.inputs.sources`.
        output: the folder of the run; made if missing.
        predictor: the model.
        choice: how workers load it.
        settings: what to ask and how to write.
        prompts: the file of boxes or points; None for all masks, or for a COCO input's own boxes.
        photos: folder of the photos of COCO inputs.
        results: address in an object store for the shards' results; "" for the folder `shards`.

    Raises:
        DataError, SettingsError: as of `shards.plan.make_plan`; or the prompt file cannot be read.
    """
    info = predictor.info
    source = "own" if prompts is None else file_sha256(prompts)

    def find(listings: Listings) -> Iterator[Task | Problem]:
        asks: Callable[[PhotoRef, str], tuple[Ask, ...]] | None = None
        file, dropped = None, list[Problem]()
        if settings.prompts == "given":
            file = None if prompts is None else PromptFile(prompts)
            asks = partial(annotated_boxes, drop=dropped.append) if file is None else lambda photo, _: file.of(photo)
        for item in find_tasks(sources(inputs, photos), listings, asks):
            yield item
            yield from dropped
            dropped.clear()
        if file is not None:
            yield from file.unmatched()

    asked = {
        "prompts": source if settings.prompts == "given" else None,
        "model": {"name": info.name, "weights_sha256": info.weights_sha256, "image_size": info.image_size},
        "backend": choice.backend,
        "precision": choice.precision,
        "device": choice.device,
        "threads": choice.threads,
        "settings": asdict(settings),
    }
    return plan.make_plan(
        output,
        AnnotateJob,
        find,
        inputs=inputs,
        results=results,
        asked=asked,
        choice=asdict(choice),
        suffix=SUFFIX[settings.form],
        shard_photos=settings.shard_photos,
    )


def file_sha256(path: Path) -> str:
    """Hash of the prompt file.

    Raises:
        DataError: it is missing.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"the prompt file '{path}' cannot be read ({error.strerror})") from error
