"""Pictures of the objects with the lowest IoU of each protocol, for finding out why a model fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mobilesam.data.photo import PhotoRef
from mobilesam.draw import overlay
from mobilesam.evaluate.metrics import Pixels
from mobilesam.evaluate.photo import Models, ask, embed, read_objects
from mobilesam.evaluate.protocols import Answer
from mobilesam.evaluate.records import Row
from mobilesam.evaluate.run import find_photos
from mobilesam.evaluate.settings import EvaluateSettings
from mobilesam.files import make_folder, save_picture
from mobilesam.image import Rgb
from mobilesam.outputs import DEFAULT, Outputs

TRUTH_COLOUR = (255, 215, 0)
BANNER = 22  # px


def save_worst(
    rows: Sequence[Row],
    settings: EvaluateSettings,
    models: Models,
    folder: Path,
    count: int,
    outputs: Outputs = DEFAULT,
) -> list[Path]:
    """Run the worst cases of each protocol again and save pictures of them.

    Args:
        rows: rows of a report.
        settings: settings of the same report.
        models: the models of these settings.
        folder: folder for the files PROTOCOL_RANK.png, created if missing.
        count: number of pictures per protocol.
        outputs: the rule for what may be replaced.

    Returns:
        The files, sorted.
    """
    # Masks are not stored in reports, which would grow too large; protocols are deterministic, so they can be repeated.
    make_folder(folder)
    ranked: dict[tuple[str, str, str], tuple[int, Row]] = {}
    for protocol in settings.per_object:
        worst = sorted((row for row in rows if row.protocol == protocol), key=lambda row: row.iou)[:count]
        ranked |= {(protocol, row.photo.dataset, row.object): (rank, row) for rank, row in enumerate(worst, 1)}
    # Only photos with a worst case are encoded again.
    photos = {row.photo for _, row in ranked.values()}
    files = []
    for photo in find_photos(settings):
        if not isinstance(photo, PhotoRef) or photo.id not in photos:
            continue
        images = embed(models, photo)
        assert images.student.photo is not None
        objects, _ = read_objects(photo.id, photo.annotation(), images.student.original_hw)
        for one in objects:
            asked = [name for name in settings.per_object if (name, photo.id.dataset, one.id) in ranked]
            truth = one.decode() if asked else None
            for protocol in asked:
                assert truth is not None
                rank, row = ranked[protocol, photo.id.dataset, one.id]
                answer = ask(protocol, truth, images, settings.zoom)
                assert answer is not None  # it has a row
                against = truth.mask if answer.against is None else answer.against
                picture = draw(images.student.photo, answer, against, row)
                files.append(save_picture(picture, folder / f"{protocol}_{rank:02}.png", outputs=outputs))
    return sorted(files)


def draw(rgb: Rgb, answer: Answer, truth: Pixels, row: Row) -> Rgb:
    """Draw the model's mask (tinted), the annotation (yellow outline), the prompt, and a line of metrics above."""
    picture = overlay(rgb, [answer.mask], points=answer.points, labels=answer.labels, box=answer.box)
    contours, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, TRUTH_COLOUR, max(2, round(max(rgb.shape[:2]) / 300)))
    banner = np.zeros((BANNER, picture.shape[1], 3), np.uint8)
    score = "" if row.score is None else f"  score {row.score:.2f}"
    text = f"{row.protocol}  IoU {row.iou:.2f}{score}  {row.photo.dataset}: {row.object}"
    cv2.putText(banner, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([banner, picture])
