"""Evaluation of one photo: all protocols on all its objects, with a single run of the encoder."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilesam.data.checksums import content_checksum
from mobilesam.data.photo import Annotation, ObjectRef, PhotoId, PhotoRef, Problem
from mobilesam.data.shapes import PixelShape
from mobilesam.errors import DataError
from mobilesam.evaluate.everything import search
from mobilesam.evaluate.metrics import Pixels, boundary_iou, components, iou, size_class
from mobilesam.evaluate.protocols import PROTOCOLS, Answer, Question
from mobilesam.evaluate.records import PhotoResult, Row
from mobilesam.evaluate.settings import EVERYTHING, EvaluateSettings
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.load import load
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.zoom import Zoom


@dataclass(frozen=True)
class Models:
    """The model under test (student) and, for some protocols, the model it is compared with (teacher)."""

    student: Predictor
    teacher: Predictor | None


def load_models(settings: EvaluateSettings) -> Models:
    """Load the models of an evaluation, with one thread each."""
    # Work is parallel over processes; with one thread each, results are the same to the digit for any number of them.
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
    """One photo, encoded by both models."""

    student: ImageEmbedding
    teacher: ImageEmbedding | None


@dataclass(frozen=True)
class Truth:
    """One annotated object as a mask of pixels."""

    id: str
    mask: Pixels
    """(H, W)"""
    ignored: Pixels | None
    """(H, W) pixels that are excluded from all metrics."""


def evaluate_photo(models: Models, photo: PhotoRef, settings: EvaluateSettings) -> PhotoResult:
    """Run all protocols on one photo; a photo or an object that cannot be read is reported as a problem."""
    content = content_checksum(photo)
    try:
        annotation = photo.annotation()
        images = embed(models, photo)  # once for all protocols: the encoder takes most of the time
    except (DataError, ValueError) as error:
        problem = Problem(photo.id, str(error))
        return PhotoResult(photo=photo.id, is_read=False, problems=(problem,), content=content)
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
        # Objects that the settings exclude, plus pairs of a chosen object and a protocol that could not prompt for it.
        left_out=len(truths) - len(chosen) + len(chosen) * len(settings.per_object) - len(rows),
        search=found,
        content=content,
    )


def embed(models: Models, photo: PhotoRef) -> Images:
    """Open a photo and encode it once for each model.

    Raises:
        DataError, ValueError: it cannot be read.
    """
    rgb = photo.open()
    return Images(models.student.embed(rgb), models.teacher.embed(rgb) if models.teacher else None)


def decode_objects(photo: PhotoId, annotation: Annotation, hw: tuple[int, int]) -> tuple[list[Truth], list[Problem]]:
    """Decode the objects of a photo; returns those that could be decoded, and a problem for each other."""
    truths = []
    problems = [Problem(photo, f"object {object_id}: {reason}") for object_id, reason in annotation.broken]
    for reference in annotation.objects:
        if reference.is_crowd:  # a region of many objects, which no single mask can match
            continue
        try:
            truths.append(decode(reference, hw))
        except DataError as error:
            problems.append(Problem(photo, str(error)))
    return truths, problems


def decode(reference: ObjectRef, hw: tuple[int, int]) -> Truth:
    """Decode one object into a mask of pixels.

    Raises:
        DataError: its annotation is invalid, or made for a photo of another size.
    """
    shape = reference.shape
    mask = reference.mask(hw)
    return Truth(reference.id, mask, shape.ignored() if isinstance(shape, PixelShape) else None)


def choose(truths: Sequence[Truth], settings: EvaluateSettings) -> list[Truth]:
    """The objects that `min_area` and `max_objects` keep, in their original order."""
    areas = [int(truth.mask.sum()) for truth in truths]
    # Stable, so that of objects with equal areas every run keeps the same ones.
    kept = [i for i in np.argsort(areas, kind="stable")[::-1] if areas[i] >= max(1, settings.min_area)]
    return [truths[i] for i in sorted(kept[: settings.max_objects or None])]


def ask(protocol: str, truth: Truth, images: Images, zoom: Zoom) -> Answer | None:
    """Run one protocol on one object; None if the protocol cannot prompt for it.

    Its random draws depend only on the protocol and the object's id, so every run and every model gets the same.
    """
    # crc32 and not hash(), which Python seeds differently in each process.
    rng = np.random.default_rng(zlib.crc32(f"{protocol}/{truth.id}".encode()))
    return PROTOCOLS[protocol](Question(images.student, truth.mask, truth.ignored, rng, images.teacher, zoom))


def to_row(protocol: str, photo: PhotoId, source: str, truth: Truth, answer: Answer) -> Row:
    """The row of a report for one answer, with its metrics."""
    # Ignored pixels are part of the annotation; where another model's mask is the reference, they have no meaning.
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
