"""Numerical comparison of a backend with torch: drawn photos and prompts of every kind through both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mobilesam import contract
from mobilesam.errors import ExportError
from mobilesam.export.verify import TOLERANCE
from mobilesam.model.sam import Sam
from mobilesam.predict.backend import Backend, Floats

OBJECTS = ((0.3, 0.35, 0.2, 0.15), (0.65, 0.6, 0.15, 0.25), (0.5, 0.85, 0.1, 0.1))
"""Ellipses of the drawn photos: centre and radii (x, y, rx, ry) as fractions of the photo's sides."""


def measure_errors(backend: Backend, sam: Sam) -> dict[str, float]:
    """Compare a backend with torch on a landscape and a portrait photo.

    Returns:
        The largest error of each output, relative to the largest magnitude that torch gives.

    Raises:
        ExportError: the shape of an output differs.
    """
    side = sam.config.image_size
    errors = {contract.ENCODER_OUTPUT: 0.0} | dict.fromkeys(contract.DECODER_OUTPUTS, 0.0)
    for h, w in ((side * 3 // 4, side), (side, side // 2 + 1)):
        photo = drawn_photo(h, w)
        with torch.inference_mode():
            expected = sam.encode(torch.from_numpy(photo))
        found = backend.encode(photo)
        keep_worst(errors, contract.ENCODER_OUTPUT, found, expected.numpy())
        prior = np.zeros((1, 1, side // 4, side // 4), np.float32)
        for coords, labels, has_prior in prompts(h, w):
            given = (coords, labels, prior, has_prior)
            with torch.inference_mode():
                answer = [array.numpy() for array in sam.decode(expected, *(torch.from_numpy(a) for a in given))]
            for name, ours, theirs in zip(contract.DECODER_OUTPUTS, backend.decode(found, *given), answer, strict=True):
                keep_worst(errors, name, ours, theirs)
            prior = np.ascontiguousarray(answer[0][:, :1])  # the next prompt refines torch's first mask
    return errors


def check_errors(errors: dict[str, float], runtime: str, reference: str = "torch") -> None:
    """Refuse an export in float32 that differs from torch, or from another reference, by more than rounding.

    Raises:
        ExportError: says by how much.
    """
    for name, error in errors.items():
        if not error <= TOLERANCE:  # also refuses NaN
            raise ExportError(f"{name}: {runtime} and {reference} differ by {error:.2e} of the largest value")


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


def keep_worst(errors: dict[str, float], name: str, found: Floats, expected: Floats) -> None:
    """Raise an output's error to that of another answer.

    Raises:
        ExportError: the shapes differ.
    """
    if found.shape != expected.shape:
        raise ExportError(f"{name}: the export gives {found.shape}, not {expected.shape}")
    error = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-6))
    errors[name] = float(np.maximum(errors[name], error))  # NaN stays
