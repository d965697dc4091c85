"""How well an exported model agrees with torch: fixed photos and prompts through both, from pixels to masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mobilesam import contract
from mobilesam.errors import ExportError
from mobilesam.model.sam import Sam
from mobilesam.predict.backend import Backend, Floats

TOLERANCE = 1e-3  # of the largest magnitude of an output, in float32
LEAST_IOU = 0.9  # mean over all masks, where numbers are rounded on purpose
OBJECTS = ((0.3, 0.35, 0.2, 0.15), (0.65, 0.6, 0.15, 0.25), (0.5, 0.85, 0.1, 0.1))
"""Ellipses of the drawn photos: centre and radii (x, y, rx, ry) as fractions of the photo's sides."""


@dataclass(frozen=True)
class Agreement:
    """The result of a comparison with torch."""

    errors: dict[str, float]
    """Output → largest error, relative to the largest magnitude that torch gives."""
    mask_iou: float
    """Mean IoU of all masks with torch's."""
    lowest_mask_iou: float
    """The lowest of them."""

    def check(self, precision: str, runtime: str) -> None:
        """Refuse an export that does not agree.

        Raises:
            ExportError: says by how much it differs.
        """
        for name, error in self.errors.items():
            if precision == "float32" and not error <= TOLERANCE:  # also refuses NaN
                raise ExportError(f"{name}: {runtime} and torch differ by {error:.2e} of the largest value")
        if not self.mask_iou >= LEAST_IOU:
            raise ExportError(
                f"in {precision}, the masks of {runtime} have a mean IoU of {self.mask_iou:.3f} with torch's; at least "
                f"{LEAST_IOU} is asked for. Export this model in float32"
            )


def measure(backend: Backend, sam: Sam) -> Agreement:
    """Compare a backend with torch on a landscape and a portrait photo and prompts of every kind."""
    side = sam.config.image_size
    sam.eval()
    errors = {contract.ENCODER_OUTPUT: 0.0} | dict.fromkeys(contract.DECODER_OUTPUTS, 0.0)
    ious: list[float] = []
    for h, w in ((side * 3 // 4, side), (side, side // 2 + 1)):
        photo = drawn_photo(h, w)
        with torch.inference_mode():
            expected = sam.encode(torch.from_numpy(photo))
        found = backend.encode(photo)
        keep_worst(errors, {contract.ENCODER_OUTPUT: (found, expected.numpy())})
        prior = np.zeros((1, 1, side // 4, side // 4), np.float32)
        for coords, labels, has_prior in prompts(h, w):
            given = (coords, labels, prior, has_prior)
            with torch.inference_mode():
                torch_answer = sam.decode(expected, *(torch.from_numpy(array) for array in given))
            answers = [(a, b.numpy()) for a, b in zip(backend.decode(found, *given), torch_answer, strict=True)]
            keep_worst(errors, dict(zip(contract.DECODER_OUTPUTS, answers, strict=True)))
            inside = (..., slice((h + 3) // 4), slice((w + 3) // 4))
            ious += mask_ious(*(logits[inside][0] > contract.MASK_THRESHOLD for logits in answers[0]))
            prior = np.ascontiguousarray(answers[0][1][:, :1])  # the next prompt refines torch's first mask
    return Agreement(errors, float(np.mean(ious)), float(np.min(ious)))


def drawn_photo(h: int, w: int) -> Floats:
    """A photo (1, 3, h, w) of three ellipses before a gradient, with noise, in whole numbers from 0 to 255."""
    y, x = np.mgrid[:h, :w] / np.array([h, w], np.float32)[:, None, None]
    photo = np.stack([60 + 80 * x, 90 + 60 * y, 140 - 50 * x])
    for (cx, cy, rx, ry), colour in zip(OBJECTS, ((220, 60, 40), (40, 200, 90), (240, 230, 60)), strict=True):
        is_inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        photo = np.where(is_inside, np.array(colour)[:, None, None], photo)
    noise = np.random.default_rng(0).normal(0, 6, photo.shape)
    return np.clip(np.round(photo + noise), 0, 255).astype(np.float32)[None]


def prompts(h: int, w: int) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Points (1, P, 2), labels (1, P) and whether a mask counts (1,), as `mobilesam.predict.prompts` makes them."""
    first, second, third = (np.array(ellipse) * (w, h, w, h) for ellipse in OBJECTS)
    corners = [first[:2] - first[2:], first[:2] + first[2:]]
    nowhere = np.zeros(2)
    for points, labels, has_prior in (
        ([first[:2], nowhere], [1, -1], 0),
        ([second[:2], first[:2], nowhere], [1, 0, -1], 1),
        (corners, [2, 3], 0),
        ([first[:2], second[:2], third[:2], *corners], [1, 0, 0, 2, 3], 1),
        ([third[:2], first[:2], second[:2], third[:2] - 3, third[:2] + 3, nowhere], [1, 0, 0, 1, 1, -1], 0),
    ):
        yield np.array([points], np.float32), np.array([labels], np.float32), np.array([has_prior], np.float32)


def keep_worst(errors: dict[str, float], pairs: dict[str, tuple[Floats, Floats]]) -> None:
    """Raise each output's error to that of a pair (found, expected).

    Raises:
        ExportError: the shapes differ.
    """
    for name, (found, expected) in pairs.items():
        if found.shape != expected.shape:
            raise ExportError(f"{name}: the export gives {found.shape}, torch {expected.shape}")
        error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-6))
        errors[name] = max(errors[name], error) if error == error else error  # NaN stays


def mask_ious(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> list[float]:
    """IoU of each mask of (K, H, W) with its counterpart; 1 where both are empty."""
    both = (found & expected).sum(axis=(1, 2))
    either = (found | expected).sum(axis=(1, 2))
    return [float(b / e) if e else 1.0 for b, e in zip(both, either, strict=True)]
