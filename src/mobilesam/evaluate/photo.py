"""All protocols on one photo, which is encoded once."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilesam.data.photo import Annotation, ObjectRef, PhotoId, PhotoRef, Problem
from mobilesam.data.shapes import PixelShape
from mobilesam.errors import DataError
from mobilesam.evaluate.everything import search
from mobilesam.evaluate.metrics import Mask, boundary_iou, components, iou, size_class
from mobilesam.evaluate.protocols import PROTOCOLS, Answer, Question
from mobilesam.evaluate.records import PhotoResult, Row
from mobilesam.evaluate.settings import EVERYTHING, EvaluateSettings
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.zoom import Zoom


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


@dataclass(frozen=True)
class Images:
    """One photo, as the models see it."""

    student: ImageEmbedding
    teacher: ImageEmbedding | None


@dataclass(frozen=True)
class Truth:
    """One annotated object in pixels."""

    id: str
    mask: Mask
    """(H, W)"""
    ignored: Mask | None
    """(H, W) pixels that count neither way."""


def evaluate_photo(models: Models, photo: PhotoRef, settings: EvaluateSettings) -> PhotoResult:
    """All protocols on one photo; what cannot be read becomes a problem with a name."""
    try:
        annotation = photo.annotation()
        images = embed(models, photo)
    except (DataError, ValueError) as error:
        return PhotoResult(photo=photo.id, is_read=False, problems=(Problem(photo.id, str(error)),))
    truths, problems = decode_objects(photo.id, annotation, images.student.original_hw)
    chosen = choose(truths, settings)
    rows = []
    for truth in chosen:
        for protocol in settings.per_object:
            answer = ask(protocol, truth, images, settings.zoom)
            if answer is not None:
                rows.append(to_row(protocol, photo.id, annotation.source, truth, answer))
    found = None
    if EVERYTHING in settings.protocols:
        found = search(models.student, images.student, [truth.mask for truth in chosen], settings.everything)
    return PhotoResult(
        photo=photo.id,
        is_read=True,
        rows=tuple(rows),
        problems=tuple(problems),
        left_out=len(truths) - len(chosen) + len(chosen) * len(settings.per_object) - len(rows),
        search=found,
    )


def embed(models: Models, photo: PhotoRef) -> Images:
    """Open a photo and encode it once for each model.

    Raises:
        DataError, ValueError: it cannot be read.
    """
    rgb = photo.open()
    return Images(models.student.embed(rgb), models.teacher.embed(rgb) if models.teacher else None)


def decode_objects(photo: PhotoId, annotation: Annotation, hw: tuple[int, int]) -> tuple[list[Truth], list[Problem]]:
    """Every object that can be decoded, and a problem for each that cannot; crowds are no objects."""
    truths = []
    problems = [Problem(photo, f"object {object_id}: {reason}") for object_id, reason in annotation.broken]
    for reference in annotation.objects:
        if reference.is_crowd:
            continue
        try:
            truths.append(decode(reference, hw))
        except DataError as error:
            problems.append(Problem(photo, str(error)))
    return truths, problems


def decode(reference: ObjectRef, hw: tuple[int, int]) -> Truth:
    """One object in pixels.

    Raises:
        DataError: its annotation is broken, or made for a photo of another size.
    """
    shape = reference.shape
    mask = reference.mask(hw)
    return Truth(reference.id, mask, shape.ignored() if isinstance(shape, PixelShape) else None)


def choose(truths: Sequence[Truth], settings: EvaluateSettings) -> list[Truth]:
    """Objects large enough, and the largest of them when only some are wanted."""
    areas = [int(truth.mask.sum()) for truth in truths]
    kept = [i for i in np.argsort(areas, kind="stable")[::-1] if areas[i] >= max(1, settings.min_area)]
    return [truths[i] for i in sorted(kept[: settings.max_objects or None])]


def ask(protocol: str, truth: Truth, images: Images, zoom: Zoom) -> Answer | None:
    """Put one question.

    Its random draws depend on the protocol and the object's id alone, so that every run and every model gets the same.
    """
    rng = np.random.default_rng(zlib.crc32(f"{protocol}/{truth.id}".encode()))
    return PROTOCOLS[protocol](Question(images.student, truth.mask, truth.ignored, rng, images.teacher, zoom))


def to_row(protocol: str, photo: PhotoId, source: str, truth: Truth, answer: Answer) -> Row:
    """One line of the report."""
    # Ignored pixels belong to the annotation: they say nothing about another model's mask.
    against, ignored = (truth.mask, truth.ignored) if answer.against is None else (answer.against, None)
    distances = list(answer.iou_by_distance.values())
    area = int(truth.mask.sum())
    return Row(
        protocol=protocol,
        photo=photo,
        object=truth.id,
        source=source,
        iou=float(np.mean(distances)) if distances else iou(answer.mask, against, ignored),
        boundary_iou=boundary_iou(answer.mask, against, ignored),
        components=components(answer.mask),
        area=area,
        size=size_class(area),
        score=answer.score,
        points=tuple(answer.points),
        labels=tuple(answer.labels),
        box=answer.box,
        candidates=answer.candidates,
        clicks_needed=answer.clicks_needed,
        iou_by_distance=answer.iou_by_distance,
    )
