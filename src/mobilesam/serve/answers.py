"""Masks as answers: run lengths, polygons, PNG, or one PNG of labels."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from mobilesam import boxes
from mobilesam.predict.results import Mask, Prediction
from mobilesam.serve.problems import Problem, json_response
from mobilesam.serve.schemas import Format

# H W photo, L side of the logits


def choose_format(asked: Format | None, accept: str) -> tuple[Format, bool]:
    """The form of the masks, and whether the answer is the picture itself and not JSON."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    wants_json = any(kind in ("application/json", "application/*") for kind in kinds)
    wants_png = any(kind in ("image/png", "image/*") for kind in kinds)
    if asked in (None, "png", "labels"):
        is_picture = wants_png if asked is None else not wants_json
        return asked or ("png" if wants_png else "rle"), is_picture
    return asked, False


def png(picture: NDArray[np.generic]) -> bytes:
    """A grey picture (H, W) of 8 or 16 bits as the bytes of a PNG."""
    is_made, content = cv2.imencode(".png", np.asarray(picture), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert is_made
    return content.tobytes()


def mask_png(mask: Mask) -> bytes:
    """A mask as PNG, 255 on the object."""
    return png(mask.array.view(np.uint8) * np.uint8(255))


def labels_png(masks: Sequence[Mask]) -> bytes:
    """All masks in one PNG: the i-th, from 1, has value i; smaller masks lie on top."""
    canvas = np.zeros(masks[0].original_hw, np.uint8 if len(masks) < 256 else np.uint16)
    for i in sorted(range(len(masks)), key=lambda i: -masks[i].area):
        canvas[masks[i].array] = i + 1
    return png(canvas)


def mask_record(mask: Mask, form: Format) -> dict[str, Any]:
    """One mask as JSON."""
    record: dict[str, Any] = {
        "score": round(mask.score, 6),
        "bbox": list(boxes.xyxy_to_xywh(mask.box_xyxy)),
        "area": mask.area,
    }
    if form == "rle":
        record["segmentation"] = mask.rle()
    elif form == "polygons":
        pieces = mask.polygons()
        record["polygons"] = [{"outer": p.outer.tolist(), "holes": [h.tolist() for h in p.holes]} for p in pieces]
    elif form == "png":
        record["png"] = base64.b64encode(mask_png(mask)).decode()
    return record


@dataclass(frozen=True)
class Wanted:
    """The form of an answer."""

    form: Format
    is_picture: bool
    """Whether the answer is the PNG itself and not JSON."""
    with_logits: bool
    name: str
    """Stem of the picture's file name."""


def answer(found: Sequence[Prediction], wanted: Wanted, check: Callable[[], None]) -> Response:
    """The answer to a request with one or more prompts.

    Masks are made one at a time, because hundreds of a large photo would not fit in memory.

    Args:
        found: a prediction for each prompt.
        wanted: the form.
        check: called between masks; raises if the answer is no longer needed.

    Raises:
        Problem: one picture was asked for, but there are several prompts.
    """
    if wanted.is_picture and wanted.form == "png" and len(found) > 1:
        raise Problem(422, "a PNG holds the mask of one prompt: ask for format 'labels', or for JSON")
    if wanted.is_picture and wanted.form == "png":
        return _picture(mask_png(found[0].best), found, f"{wanted.name}_mask")
    labels = labels_png([_small(prediction, check) for prediction in found]) if wanted.form == "labels" else None
    if wanted.is_picture and labels is not None:
        return _picture(labels, found, f"{wanted.name}_labels")
    results = [_prediction_record(prediction, wanted, check) for prediction in found]
    record: dict[str, Any] = {"size": list(found[0].original_hw), "results": results}
    if labels is not None:
        record["labels"] = base64.b64encode(labels).decode()
    return json_response(record)


def _picture(content: bytes, found: Sequence[Prediction], name: str) -> Response:
    scores = ",".join(f"{float(prediction.scores.max()):.4f}" for prediction in found)
    headers = {"X-Scores": scores, "Content-Disposition": f'inline; filename="{name}.png"'}
    return Response(content, headers=headers, media_type="image/png")


def _small(found: Prediction, check: Callable[[], None]) -> Mask:
    """The best mask as run lengths, which take little memory."""
    check()
    return Mask(found[found.best_index].rle(), float(found.scores.max()))


def _prediction_record(found: Prediction, wanted: Wanted, check: Callable[[], None]) -> dict[str, Any]:
    """The masks of one prompt as JSON, and which of them has the highest score."""
    masks = []
    for mask in found:
        check()
        masks.append(mask_record(mask, wanted.form))
    record: dict[str, Any] = {"best": found.best_index, "masks": masks}
    if wanted.with_logits:
        logits = np.ascontiguousarray(found.low_res[found.best_index], "<f4")
        record["logits"] = base64.b64encode(logits.tobytes()).decode()
    return record


def read_logits(content: bytes, side: int) -> NDArray[np.float32]:
    """The `logits` of an earlier answer, (L, L).

    Raises:
        Problem: they have another size.
    """
    if len(content) != 4 * side * side:
        raise Problem(422, f"'prior' must be the logits of an earlier answer, {4 * side * side} bytes in base64")
    return np.frombuffer(content, "<f4").reshape(side, side).astype(np.float32)
