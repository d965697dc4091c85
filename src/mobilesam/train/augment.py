"""What happens to a photo and its masks before the network sees them.

Everything ends in the frame of inference: the long side fills the square, padding lies right and bottom.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.contract import PIXEL_MEAN
from mobilesam.train.config import DataConfig

# H W photo, S side of the network's square, M masks

Rgb = NDArray[np.uint8]
Masks = NDArray[np.uint8]


def random_crop(hw: tuple[int, int], config: DataConfig, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A window (y0, x0, height, width) of the photo; the whole of it when no crop is drawn."""
    h, w = hw
    if rng.random() >= config.crop_probability:
        return 0, 0, h, w
    height = max(16, round(h * rng.uniform(config.min_crop, 1)))
    width = max(16, round(w * rng.uniform(config.min_crop, 1)))
    return int(rng.integers(0, max(1, h - height + 1))), int(rng.integers(0, max(1, w - width + 1))), height, width


def target_hw(hw: tuple[int, int], size: int, stretch: float) -> tuple[int, int]:
    """Size after an aspect change, with the long side at `size`."""
    h, w = hw[0] * stretch, float(hw[1])
    scale = size / max(h, w)
    return max(1, min(size, round(h * scale))), max(1, min(size, round(w * scale)))


def place(rgb: Rgb, masks: list[Masks], size: int, config: DataConfig, rng: np.random.Generator) -> tuple[Rgb, Masks]:
    """Crop, stretch, flip, jitter colours and pad.

    Returns:
        rgb (S, S, 3), padded with the mean colour (zero after normalisation); masks (M, S, S) of 0 and 1.
    """
    y, x, height, width = random_crop(rgb.shape[:2], config, rng)
    stretch = float(np.exp(rng.uniform(-1, 1) * np.log(config.max_stretch)))
    h, w = target_hw((height, width), size, stretch)
    flip = rng.random() < 0.5
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = np.round(PIXEL_MEAN)
    canvas[:h, :w] = jitter_colour(resize(rgb[y : y + height, x : x + width], (h, w), flip), config.colour, rng)
    placed = np.zeros((len(masks), size, size), np.uint8)
    for i, mask in enumerate(masks):
        placed[i, :h, :w] = resize(mask[y : y + height, x : x + width] * 255, (h, w), flip) > 127
    return canvas, placed


def resize(image: NDArray[np.uint8], hw: tuple[int, int], flip: bool) -> NDArray[np.uint8]:
    """Resize to (h, w), by area when shrinking, and mirror if asked."""
    shrinking = hw[0] < image.shape[0]
    image = cv2.resize(image, (hw[1], hw[0]), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)  # type: ignore[assignment]
    return image[:, ::-1] if flip else image


def jitter_colour(rgb: Rgb, strength: float, rng: np.random.Generator) -> Rgb:
    """Random brightness, contrast, per-channel gain, saturation, and sometimes grey."""
    if strength <= 0:
        return rgb
    contrast, saturation = 1 + rng.uniform(-strength, strength, 2)
    gain = 1 + rng.uniform(-strength / 3, strength / 3, 3)
    brightness = 128 * rng.uniform(-strength, strength)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    if rng.random() < 0.1:
        saturation = 0.0
    mixed = grey + (rgb - grey) * np.float32(saturation)
    mixed = (mixed - 128) * (contrast * gain).astype(np.float32) + np.float32(128 + brightness)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def paste(rgb: Rgb, masks: list[Masks], cut: Rgb, cut_mask: Masks, rng: np.random.Generator) -> tuple[Rgb, list[Masks]]:
    """Lay an object of another photo onto this one, and cut what it hides out of this photo's masks.

    Returns:
        The photo, and its masks with the pasted object's mask first.
    """
    ys, xs = np.nonzero(cut_mask)
    y0, y1, x0, x1 = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    cut, cut_mask = cut[y0:y1, x0:x1], cut_mask[y0:y1, x0:x1]
    h, w = rgb.shape[:2]
    scale = rng.uniform(0.15, 0.6) * max(h, w) / max(cut_mask.shape)
    scale = min(scale, 2.0, h / cut_mask.shape[0], w / cut_mask.shape[1])
    ph, pw = max(2, int(cut_mask.shape[0] * scale)), max(2, int(cut_mask.shape[1] * scale))
    flip = rng.random() < 0.5
    cut = resize(cut, (ph, pw), flip)
    alpha = resize(cut_mask * 255, (ph, pw), flip)
    y, x = int(rng.integers(0, h - ph + 1)), int(rng.integers(0, w - pw + 1))
    # A border one pixel soft, so that the network cannot learn to look for a scissors' edge.
    weight = cv2.GaussianBlur(alpha, (3, 3), 0)[..., None].astype(np.float32) / 255
    out = rgb.copy()
    out[y : y + ph, x : x + pw] = (cut * weight + out[y : y + ph, x : x + pw] * (1 - weight)).astype(np.uint8)
    pasted = np.zeros((h, w), np.uint8)
    pasted[y : y + ph, x : x + pw] = alpha > 127
    return out, [pasted, *(mask * (1 - pasted) for mask in masks)]
