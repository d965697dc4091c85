"""Planning of an annotation run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from mobilesam.annotate.job import SUFFIX, AnnotateJob, ModelChoice, identify
from mobilesam.annotate.prompts import PromptFile, annotated_boxes
from mobilesam.annotate.settings import AnnotateSettings
from mobilesam.data.checksums import Listings
from mobilesam.data.layouts import check_folder
from mobilesam.data.photo import Problem
from mobilesam.errors import DataError
from mobilesam.integrity import file_sha256
from mobilesam.predict.predictor import Predictor
from mobilesam.shards import plan
from mobilesam.shards.inputs import find_tasks, sources
from mobilesam.shards.places import placed
from mobilesam.shards.tasks import Task


def make_plan(
    inputs: Sequence[str],
    output: Path,
    predictor: Predictor,
    choice: ModelChoice,
    settings: AnnotateSettings,
    *,
    prompts: Path | None = None,
    photos: Path | str | None = None,
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
        photos: folder of the photos of COCO inputs, or its address in an object store.
        results: address in an object store for the shards' results; "" for the folder `shards`.

    Raises:
        DataError, SettingsError: as of `shards.plan.make_plan`; or the prompt file cannot be read, or its
            prompts fit several photos.
    """
    inputs = [placed(one, is_pattern=True) for one in inputs]
    folder = None if photos is None else placed(str(photos))
    source = "own" if prompts is None else prompts_sha256(prompts)

    def find(listings: Listings) -> Iterator[Task | Problem]:
        if folder is not None:
            check_folder(inputs, "'photos' (--images)")
        file = PromptFile(prompts) if settings.prompts == "given" and prompts is not None else None
        dropped: list[Problem] = []
        own = settings.prompts == "given" and file is None
        asks = partial(annotated_boxes, drop=dropped.append) if own else None
        found = find_tasks(sources(inputs, folder), listings, asks)
        return with_dropped(found, dropped) if file is None else file.give(found, output)

    asked = {
        "prompts": source if settings.prompts == "given" else None,
        "model": identify(predictor),
        "backend": choice.backend,
        "precision": choice.precision,
        "device": choice.device,
        "threads": choice.threads,
        "settings": settings.record(),
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
        photos=folder,
    )


def with_dropped(found: Iterator[Task | Problem], dropped: list[Problem]) -> Iterator[Task | Problem]:
    """Photos, each followed by the problems that were found in its own prompts."""
    for item in found:
        yield item
        yield from dropped
        dropped.clear()


def prompts_sha256(path: Path) -> str:
    """Hash of the prompt file.

    Raises:
        DataError: it is missing.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise DataError(f"the prompt file '{path}' cannot be read ({error.strerror})") from error
