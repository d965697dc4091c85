"""Masks as Label Studio's results: regions of an annotation, and tasks with predictions that annotators begin from.

The form: https://labelstud.io/guide/predictions
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from mobilesam.interchange.brush import to_brush
from mobilesam.interchange.outlines import trace
from mobilesam.interchange.photo_masks import PhotoMasks, per_mask, photo_size
from mobilesam.outputs import SOFTWARE

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask

BRUSHES, POLYGONS = ("brushlabels", "brush"), ("polygonlabels", "polygon")
"""Types of results that hold a mask: with labels, and without."""
Shape = Literal["brush", "polygon"]


@dataclass(frozen=True)
class Control:
    """A control of a labelling configuration, which results name."""

    kind: str
    """Type of its results, such as "brushlabels"."""
    from_name: str
    to_name: str


def regions(mask: Mask, label: str | None, control: Control) -> list[dict[str, Any]]:
    """The results of one mask for one control: a brush, or a polygon for each piece of the mask.

    Args:
        mask: an empty one has no polygons.
        label: its class; None for controls without labels.
        control: of the labelling configuration.
    """
    height, width = mask.original_hw
    labels = {control.kind: [label]} if label is not None and control.kind.endswith("labels") else {}
    if control.kind in BRUSHES:
        values: list[dict[str, Any]] = [{"format": "rle", "rle": to_brush(mask.array)}]
    else:
        values = [{"points": points, "closed": True} for points in _outlines(mask)]
    return [
        {
            "id": secrets.token_hex(4),  # random, as Label Studio makes them: no two on a photo are equal
            "from_name": control.from_name,
            "to_name": control.to_name,
            "type": control.kind,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": round(mask.score, 4),
            "readonly": False,
            "origin": "prediction",
            "value": {**value, **labels},
        }
        for value in values
    ]


def to_label_studio(
    photos: Iterable[PhotoMasks],
    *,
    shape: Shape = "brush",
    from_name: str = "",
    to_name: str = "image",
    data_key: str = "image",
    address: str = "",
    model_version: str = "mobilesam",
) -> list[dict[str, Any]]:
    """Make tasks with predictions ("pre-annotations"), a task for each photo, JSON-able: import them in a project.

    Args:
        photos: with their masks.
        shape: "brush" keeps every pixel; "polygon" gives the outer outline of each piece, without holes, which Label
            Studio's polygons cannot have.
        from_name: `name` of the BrushLabels or PolygonLabels of the labelling configuration; `shape` if empty.
        to_name: `name` of its Image.
        data_key: the field that its Image shows (`value="$image"`).
        address: what comes before each file name, such as "/data/local-files/?d=photos/".
        model_version: how Label Studio calls the source of these predictions.

    Raises:
        SettingsError: the size of a photo is unknown, or the numbers of masks and of labels differ.
    """
    control = Control(f"{shape}labels", from_name or shape, to_name)
    tasks: list[dict[str, Any]] = []
    for photo in photos:
        photo_size(photo.masks, photo.original_hw)  # refuses masks of several sizes
        results: list[dict[str, Any]] = []
        for mask, label in zip(photo.masks, per_mask(photo.labels, len(photo.masks), "labels"), strict=True):
            results += regions(mask, label, control)
        for i, result in enumerate(results, 1):
            result["id"] = f"mask{i}"  # not random, so that the same masks give the same file
        scores = [mask.score for mask in photo.masks]
        prediction = {
            "model_version": model_version,
            "score": round(sum(scores) / len(scores), 4) if scores else 0.0,
            "result": results,
        }
        data = {data_key: address + quote(os.fsencode(photo.file_name))}
        tasks.append({"data": data, "meta": SOFTWARE, "predictions": [prediction]})
    return tasks


def _outlines(mask: Mask) -> list[list[list[float]]]:
    """Outlines of the mask's pieces in percent of the photo's sides."""
    height, width = mask.original_hw
    scale = (100 / width, 100 / height)
    return [[[x * scale[0], y * scale[1]] for x, y in piece.outer.tolist()] for piece in trace(mask.array)]
