"""Data augmentation of one photo and its masks on the CPU, with OpenCV.

`drawing.py` draws the parameters; the result has the layout of inference: the long side fills the square,
padding lies right and bottom.

Photos shrink by OpenCV's area average here, at inference by Pillow's bilinear filter. That is on purpose: crops,
stretches and sides resize by random factors anyway, and OpenCV is faster. What is compared with inference, the photos
of a distillation and those held out, is resized as at inference (`image.resize_long_side`).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.contract import PIXEL_MEAN
from mobilesam.train.drawing import Colour, Paste, Plan, Window

# H W photo, h w window, S side of the network's square, K masks

Rgb = NDArray[np.uint8]
Pixels = NDArray[np.uint8]
"""A mask (H, W) of 0 and another value."""
MEAN: tuple[int, int, int] = tuple(round(value) for value in PIXEL_MEAN)  # type: ignore[assignment]
"""The colour of padding: zero after normalisation."""


def carry_out(
    plan: Plan, rgb: Rgb, masks: list[Pixels], cut: tuple[Rgb, Pixels] | None, side: int
) -> tuple[Rgb, NDArray[np.uint8]]:
    """Apply an augmentation plan to a photo and its masks.

    Args:
        plan: what.
        rgb: the photo (H, W, 3).
        masks: its masks of the plan, each (H, W) of 0 and 1.
        cut: photo and mask of the object to paste; None where the plan pastes none.
        side: S.

    Returns:
        rgb (S, S, 3); masks (K, S, S) of 0 and 1, a pasted object's first.
    """
    rgb = cut_out(rgb, plan.window, MEAN)
    masks = [cut_out(mask * 255, plan.window, 0) for mask in masks]
    if plan.paste is not None and cut is not None:
        rgb, masks = paste(rgb, masks, *cut, plan.paste)
    h, w = plan.hw
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = MEAN
    canvas[:h, :w] = change_colour(resize(rgb, plan.hw, plan.flip), plan.colour)
    placed = np.zeros((len(masks), side, side), np.uint8)
    for i, mask in enumerate(masks):
        placed[i, :h, :w] = resize(mask, plan.hw, plan.flip) > 127
    return canvas, placed


def cut_out(image: NDArray[np.uint8], window: Window, border: tuple[int, int, int] | int) -> NDArray[np.uint8]:
    """Crop a window, rotated about its centre, from a photo or a mask; `border` fills what lies outside of it."""
    if not window.angle:
        return image[window.y : window.y + window.height, window.x : window.x + window.width]
    cos, sin = math.cos(window.angle), math.sin(window.angle)
    # Pixel centres of the window → those of the photo. The middle is that of the window's edges, hence the halves.
    u, v = (window.width - 1) / 2, (window.height - 1) / 2
    x, y = window.x + u, window.y + v
    matrix = np.array([[cos, -sin, x - cos * u + sin * v], [sin, cos, y - sin * u - cos * v]])
    size, flags = (window.width, window.height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    turned = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border)
    return np.asarray(turned, np.uint8)


def resize(image: NDArray[np.uint8], hw: tuple[int, int], flip: bool) -> NDArray[np.uint8]:
    """Resize to (h, w), with area averaging along sides that shrink, and mirror if `flip` is set."""
    # OpenCV takes the area only where no side grows, so a photo stretched the other way takes two steps.
    least = (min(hw[0], image.shape[0]), min(hw[1], image.shape[1]))
    for (h, w), how in ((least, cv2.INTER_AREA), (hw, cv2.INTER_LINEAR)):
        if (h, w) != image.shape[:2]:
            image = np.asarray(cv2.resize(image, (w, h), interpolation=how), np.uint8)
    return image[:, ::-1] if flip else image


def change_colour(rgb: Rgb, colour: Colour | None) -> Rgb:
    """Change saturation, contrast, gain and brightness in one pass."""
    return rgb if colour is None else np.asarray(cv2.transform(rgb, colour.matrix()), np.uint8)


def paste(rgb: Rgb, masks: list[Pixels], cut: Rgb, cut_mask: Pixels, plan: Paste) -> tuple[Rgb, list[Pixels]]:
    """Paste an object of another photo onto a window, and remove what it hides from the window's masks.

    Args:
        rgb: the window (h, w, 3).
        masks: its masks (h, w) of 0 and 255.
        cut: the other photo (H, W, 3).
        cut_mask: the object in it (H, W) of 0 and 1.
        plan: where to.

    Returns:
        The window, and its masks with the pasted object's mask first.
    """
    x0, y0, x1, y1 = plan.box
    ph, pw = plan.hw
    there = (slice(plan.y, plan.y + ph), slice(plan.x, plan.x + pw))
    piece = resize(cut[y0:y1, x0:x1], plan.hw, plan.flip)
    alpha = resize(cut_mask[y0:y1, x0:x1] * 255, plan.hw, plan.flip)
    # The border is blurred by a pixel, so that the network cannot learn to recognise pasted objects by a hard edge.
    weight = np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0))[..., None].astype(np.float32) / 255
    out = rgb.copy()
    out[there] = (piece * weight + out[there] * (1 - weight)).astype(np.uint8)
    pasted = np.zeros(rgb.shape[:2], np.uint8)
    pasted[there] = np.where(alpha > 127, 255, 0)
    return out, [pasted, *(np.where(pasted > 0, 0, mask).astype(np.uint8) for mask in masks)]
