"""Evaluation of one photo: all protocols on all its objects, with a single run of the encoder."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilesam.data.checksums import bytes_checksum, content_checksum
from mobilesam.data.photo import Annotation, ObjectRef, PhotoId, PhotoRef, Problem
from mobilesam.data.pictures import Pictures
from mobilesam.errors import DataError, ImageError, first_line
from mobilesam.evaluate.everything import search
from mobilesam.evaluate.metrics import Pixels, boundary_iou, components, iou, size_class
from mobilesam.evaluate.protocols import PROTOCOLS, Answer, Question
from mobilesam.evaluate.records import EvaluatedPhoto, Row
from mobilesam.evaluate.settings import EVERYTHING, EvaluateSettings
from mobilesam.image import within_memory
from mobilesam.masks import Rle, from_rle
from mobilesam.masks import area as area_of
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
class TrueMask:
    """One annotated object as a mask of pixels."""

    id: str
    mask: Pixels
    """(H, W)"""
    ignored: Pixels | None
    """(H, W) pixels that are excluded from all metrics."""


@dataclass(frozen=True)
class Encoded:
    """One annotated object in run lengths, as all objects of a photo are kept; only those in use are decoded."""

    id: str
    rle: Rle
    ignored: Rle | None
    """The pixels that are excluded from all metrics."""

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return area_of(self.rle)

    def decode(self) -> TrueMask:
        """The object as a mask of pixels: a byte for each pixel of the photo."""
        height, width = self.rle["size"]
        ignored = None if self.ignored is None else from_rle(self.ignored, (height, width))
        return TrueMask(self.id, from_rle(self.rle, (height, width)), ignored)


def evaluate_photo(models: Models, photo: PhotoRef, settings: EvaluateSettings) -> EvaluatedPhoto:
    """Run all protocols on one photo; a photo or an object that cannot be read is reported as a problem."""
    content, content_bytes = content_checksum(photo), bytes_checksum(photo)
    try:
        with within_memory("the photo"):
            result = measure(models, photo, settings)
    except ImageError as error:
        result = unread(photo.id, error)
    return replace(result, content=content, content_bytes=content_bytes)


def unread(photo: PhotoId, error: Exception) -> EvaluatedPhoto:
    """The result for a photo that cannot be measured."""
    return EvaluatedPhoto(photo=photo, is_read=False, problems=(Problem(photo, str(error)),))


def measure(models: Models, photo: PhotoRef, settings: EvaluateSettings) -> EvaluatedPhoto:
    """As `evaluate_photo`, but raises the error when memory runs out."""
    try:
        annotation = photo.annotation()
        images = embed(models, photo)  # once for all protocols: the encoder takes most of the time
    except (DataError, ValueError) as error:
        return unread(photo.id, error)
    truths, problems = read_objects(photo.id, annotation, images.student.original_hw)
    chosen = choose(truths, settings)
    rows = []
    for one in chosen if settings.per_object else ():
        truth = one.decode()  # one at a time: a hundred masks of a large photo take gigabytes
        for protocol in settings.per_object:
            answer = ask(protocol, truth, images, settings.zoom)
            if answer is not None:
                rows.append(to_row(protocol, photo.id, annotation.source, truth, answer))
    found = None
    if EVERYTHING in settings.protocols:
        found = search(models.student, images.student, [one.rle for one in chosen], settings.everything)
    return EvaluatedPhoto(
        photo=photo.id,
        is_read=True,
        rows=tuple(rows),
        problems=tuple(problems),
        # Objects that the settings exclude, plus pairs of a chosen object and a protocol that could not prompt for it.
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


def read_objects(photo: PhotoId, annotation: Annotation, hw: tuple[int, int]) -> tuple[list[Encoded], list[Problem]]:
    """Read the objects of a photo; returns those that could be read, and a problem for each other."""
    truths, pictures = [], Pictures()
    problems = [Problem(photo, f"object {object_id}: {reason}") for object_id, reason in annotation.broken]
    for reference in annotation.objects:
        if reference.is_crowd:  # a region of many objects, which no single mask can match
            continue
        try:
            truths.append(encode(reference, hw, pictures))
        except DataError as error:
            problems.append(Problem(photo, str(error)))
    return truths, problems


def encode(reference: ObjectRef, hw: tuple[int, int], pictures: Pictures) -> Encoded:
    """Read one object as run lengths.

    Raises:
        DataError: its annotation is invalid, or made for a photo of another size.
    """
    try:
        rle = pictures.rle(reference.shape, hw)
        height, width = rle["size"]
        if (height, width) != hw:  # a label picture is as large as its file, whatever the photo's size
            raise DataError(f"the mask is {width}x{height}, the photo {hw[1]}x{hw[0]}")
    except (DataError, OSError, ValueError) as error:
        raise DataError(f"object {reference.id}: {first_line(error)}") from error
    return Encoded(reference.id, rle, pictures.ignored(reference.shape))


def choose(truths: Sequence[Encoded], settings: EvaluateSettings) -> list[Encoded]:
    """The objects that `min_area` and `max_objects` keep, in their original order."""
    areas = [truth.area for truth in truths]
    # Stable, so that of objects with equal areas every run keeps the same ones.
    kept = [i for i in np.argsort(areas, kind="stable")[::-1] if areas[i] >= max(1, settings.min_area)]
    return [truths[i] for i in sorted(kept[: settings.max_objects or None])]


def ask(protocol: str, truth: TrueMask, images: Images, zoom: Zoom) -> Answer | None:
    """Run one protocol on one object; None if the protocol cannot prompt for it.

    Its random draws depend only on the protocol and the object's id, so every run and every model gets the same.
    """
    # crc32 and not hash(), which Python seeds differently in each process.
    rng = np.random.default_rng(zlib.crc32(f"{protocol}/{truth.id}".encode()))
    return PROTOCOLS[protocol](Question(images.student, truth.mask, truth.ignored, rng, images.teacher, zoom))


def to_row(protocol: str, photo: PhotoId, source: str, truth: TrueMask, answer: Answer) -> Row:
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
