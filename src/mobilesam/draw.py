"""Drawing masks and prompts onto photos."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.image import Rgb

# Okabe and Ito's palette without black, whose colours colour-blind people can tell apart too.
COLOURS = ((0, 158, 115), (230, 159, 0), (86, 180, 233), (213, 94, 0), (0, 114, 178), (204, 121, 167), (240, 228, 66))


def overlay(
    rgb: Rgb,
    masks: Sequence[NDArray[np.bool_]],
    *,
    points: Sequence[tuple[float, float]] = (),
    labels: Sequence[int] = (),
    box: tuple[float, float, float, float] | None = None,
    opacity: float = 0.5,
) -> Rgb:
    """Draw masks, tinted and outlined, and their prompt onto a copy of the photo.

    Args:
        rgb: (H, W, 3).
        masks: each (H, W).
        points: (x, y); green where the label is 1, red where it is 0.
        labels: one per point; all 1 when empty.
        box: xyxy.
        opacity: of the tint, 0-1.

    Returns:
        (H, W, 3)
    """
    picture = rgb.copy()
    width = max(2, round(max(rgb.shape[:2]) / 300))
    for i, mask in enumerate(masks):
        colour = np.array(COLOURS[i % len(COLOURS)])
        tint(picture, mask, colour, opacity)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, (255, 255, 255), width)
    if box is not None:
        x0, y0, x1, y1 = _near(box, picture)
        cv2.rectangle(picture, (x0, y0), (x1, y1), (255, 255, 255), width)
    for (x, y), label in zip(points, labels or [1] * len(points), strict=True):
        centre = _near((x, y), picture)
        cv2.circle(picture, centre, 4 * width, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, centre, 3 * width, (0, 140, 70) if label else (200, 30, 30), -1, cv2.LINE_AA)
    return picture


def overlay_labels(rgb: Rgb, labels: NDArray[np.uint16], *, opacity: float = 0.5) -> Rgb:
    """Draw many masks, tinted and outlined, onto a copy of the photo; the time does not depend on their number.

    Args:
        rgb: (H, W, 3).
        labels: (H, W), 0 background, i where the i-th mask lies on top.
        opacity: of the tint, 0-1.

    Returns:
        (H, W, 3)
    """
    picture = rgb.copy()
    inside = labels > 0
    tint(picture, inside, np.array(COLOURS)[(labels[inside] - 1) % len(COLOURS)], opacity)
    picture[cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0] = 255
    return picture


def _near(numbers: Sequence[float], picture: Rgb) -> list[int]:
    """Coordinates as whole numbers, at most a picture's side outside of it: OpenCV fails at larger ones."""
    far = 2 * max(picture.shape[:2])
    return [round(min(max(number, -far), far)) for number in numbers]


def tint(picture: Rgb, inside: NDArray[np.bool_], colours: NDArray[np.int_], opacity: float) -> None:
    """Mix a colour into some pixels of a picture, in place.

    Args:
        picture: (H, W, 3).
        inside: (H, W), the M pixels that change.
        colours: (3,), or (M, 3) one for each.
        opacity: how much of the colour, 0-1.
    """
    keep, mix = np.float32(1 - opacity), np.float32(opacity)  # doubles would need twice the memory of a large photo
    picture[inside] = (picture[inside] * keep + colours.astype(np.float32) * mix).astype(np.uint8)
