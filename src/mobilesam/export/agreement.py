"""Measures how well the masks of exported files agree with those of the network in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilesam import contract
from mobilesam.image import PhotoLike, open_photo, to_input
from mobilesam.masks import iou, threshold, upscale
from mobilesam.predict.backend import Backend, Floats

SIDE = 5
"""Clicks along each side of a photo; each click's mask gives a box prompt too."""
MIN_SHARE = 0.002
"""Masks below this share of the photo are left out, unless all are: their IoU depends on single pixels."""

Pixels = NDArray[np.bool_]
"""A mask (H, W), true on the object."""
Prompts = tuple[Floats, Floats]
"""Coordinates (N, 2, 2) in pixels of the resized photo, and labels (N, 2)."""


@dataclass(frozen=True)
class Agreement:
    """Mask IoU between exported files and the network in float32."""

    iou: float
    """Mean over all prompts."""
    iou_p5: float
    """5th percentile."""
    click: float
    """Mean over clicks."""
    box: float
    """Mean over boxes."""
    num_masks: int


@dataclass(frozen=True)
class Case:
    """One photo with prompts, and the network's answers to them."""

    image: Floats
    """(1, 3, H, W), as the encoder takes it."""
    clicks: Prompts
    boxes: Prompts
    chosen: NDArray[np.intp]
    """For each click, which of the four masks the network scores highest."""
    click_masks: list[Pixels]
    box_masks: list[Pixels]


@dataclass(frozen=True)
class Reference:
    """Photos with prompts, and the masks of the network in float32."""

    cases: list[Case]

    @classmethod
    def of(cls, backend: Backend, photos: Sequence[PhotoLike]) -> Reference:
        """Ask a backend for the masks of a grid of clicks, and of the boxes around these masks."""
        return cls([_case(backend, to_input(open_photo(photo), backend.info.image_size)) for photo in photos])

    def agreement(self, backend: Backend) -> Agreement:
        """Compare another backend's masks with the reference."""
        clicks: list[float] = []
        boxes: list[float] = []
        for case in self.cases:
            embedding = backend.encode(case.image)
            for prompts, chosen, masks, ious in (
                (case.clicks, case.chosen, case.click_masks, clicks),
                (case.boxes, np.zeros(len(case.box_masks), np.intp), case.box_masks, boxes),
            ):
                logits, _ = _decode(backend, embedding, prompts)
                hw = (case.image.shape[2], case.image.shape[3])
                found = _masks(logits, chosen, backend.info.image_size, hw)
                ious += [iou(a, b) for a, b in zip(found, masks, strict=True)]
        values = np.array(clicks + boxes)
        means = (values.mean(), np.percentile(values, 5), np.mean(clicks), np.mean(boxes))
        total, low, click, box = (round(float(value), 5) for value in means)
        return Agreement(total, low, click, box, len(values))


def example_photos() -> list[Path]:
    """The two example photos of the package."""
    from mobilesam.web import static_folder

    return sorted((static_folder() / "examples").glob("*.png"))


def _case(backend: Backend, image: Floats) -> Case:
    hw = (image.shape[2], image.shape[3])
    embedding = backend.encode(image)
    clicks = _clicks(hw)
    logits, scores = _decode(backend, embedding, clicks)
    chosen = scores.argmax(axis=1)
    masks = _masks(logits, chosen, backend.info.image_size, hw)
    kept = [i for i, mask in enumerate(masks) if mask.mean() >= MIN_SHARE] or list(range(len(masks)))
    masks = [masks[i] for i in kept]
    boxes = np.array([_box(mask) for mask in masks], np.float32)  # (N, 2, 2)
    labels = np.tile(
        np.array([contract.LABEL_BOX_TOP_LEFT, contract.LABEL_BOX_BOTTOM_RIGHT], np.float32), (len(boxes), 1)
    )
    logits, _ = _decode(backend, embedding, (boxes, labels))
    box_masks = _masks(logits, np.zeros(len(boxes), np.intp), backend.info.image_size, hw)
    return Case(image, (clicks[0][kept], clicks[1][kept]), (boxes, labels), chosen[kept], masks, box_masks)


def _clicks(hw: tuple[int, int]) -> Prompts:
    """A grid of clicks, each followed by a padding point."""
    steps = (np.arange(SIDE) + 0.5) / SIDE
    x, y = np.meshgrid(steps * hw[1], steps * hw[0])
    coords = np.zeros((SIDE * SIDE, 2, 2), np.float32)
    coords[:, 0] = np.stack([x.ravel(), y.ravel()], axis=1)
    labels = np.tile(np.array([contract.LABEL_OBJECT, contract.LABEL_PADDING], np.float32), (len(coords), 1))
    return coords, labels


def _box(mask: Pixels) -> list[tuple[float, float]]:
    """The corners of the box around a mask; the whole picture where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return [(0.0, 0.0), (float(mask.shape[1]), float(mask.shape[0]))]
    return [(float(columns[0]), float(rows[0])), (float(columns[-1] + 1), float(rows[-1] + 1))]


def _decode(backend: Backend, embedding: Floats, prompts: Prompts) -> tuple[Floats, Floats]:
    """Logits (N, 4, L, L) and scores (N, 4), a few prompts at a time."""
    low_res = backend.info.low_res
    empty = np.zeros((1, 1, low_res, low_res), np.float32), np.zeros(1, np.float32)
    answers = []
    for start in range(0, len(prompts[0]), 8):
        coords, labels = (array[start : start + 8] for array in prompts)
        answers.append(backend.decode(embedding, coords, labels, *empty))
    logits, scores = zip(*answers, strict=True)
    return np.concatenate(logits), np.concatenate(scores)


def _masks(logits: Floats, chosen: NDArray[np.intp], image_size: int, hw: tuple[int, int]) -> list[Pixels]:
    """One mask of each prompt, at the size of the resized photo."""
    return [threshold(upscale(four[i], image_size, hw, hw)) for four, i in zip(logits, chosen, strict=True)]
