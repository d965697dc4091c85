"""Drawing the random augmentation of a photo, as a plan that is applied later.

A plan is a function of a random generator and of a few numbers about the photos, not of their pixels. `augment.py`
applies plans with OpenCV, `warp.py` with torch on a device.

Frames, from the outside in: the photo → its window (cut out, perhaps rotated; an object of another photo pasted on) →
the square (the window resized to fill its long side, perhaps mirrored, colours changed, padded right and bottom).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mobilesam.data.decoded import DecodedPhoto
from mobilesam.data.survey import Survey
from mobilesam.train.photo_config import DataConfig

# K annotated masks of a photo, M masks to show

MIN_WINDOW = 24  # pixels; a smaller window has too little to look at
MIN_OBJECT = 64  # pixels of an object that gets a window of its own
OBJECT_MARGIN = (1.15, 3.0)  # side of that window, in sides of the object's box
OBJECT_SHIFT = 0.12  # of the window against the object's centre, in sides of the window
PASTE_SIZE = (0.15, 0.6)  # long side of a pasted object, in long sides of the window
MAX_SHARE = 0.95  # of the square; a mask of more shows no object, but nearly all of it
LUMA = (0.299, 0.587, 0.114)  # grey of red, green, blue
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Facts:
    """Size of a photo, and areas and boxes of its masks: all that drawing a plan needs."""

    hw: tuple[int, int]
    areas: NDArray[np.float64]
    """(K,) areas in pixels."""
    boxes: NDArray[np.float64]
    """(K, 4) boxes x0, y0, x1, y1."""


@dataclass(frozen=True)
class Window:
    """A crop window in the photo's pixels, which may be rotated about its centre."""

    y: int
    x: int
    height: int
    width: int
    angle: float = 0.0
    """Rotation in radians; positive turns the picture counter-clockwise."""


@dataclass(frozen=True)
class Colour:
    """A change of colours: grey + (rgb - grey) * saturation, then times contrast and gain, plus brightness."""

    contrast: float
    saturation: float
    brightness: float
    """In 0-255."""
    gain: tuple[float, float, float]

    def matrix(self) -> NDArray[np.float32]:
        """The colour change as a (3, 4) matrix that maps (r, g, b, 1) to rgb."""
        mixed = self.saturation * np.eye(3) + (1 - self.saturation) * np.array(LUMA)
        gain = self.contrast * np.array(self.gain)[:, None]
        offset = 128 + self.brightness - 128 * gain
        return np.concatenate([gain * mixed, offset], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Paste:
    """An object of another photo, and where in the window it is pasted."""

    photo: int
    mask: int
    box: Box
    """x0, y0, x1, y1 in its own photo."""
    y: int
    x: int
    hw: tuple[int, int]
    """Size in pixels of the window."""
    flip: bool


@dataclass(frozen=True)
class Plan:
    """The augmentation of one photo: crop, colours, mirroring, pasted object and masks."""

    photo: int
    masks: tuple[int, ...]
    """Numbers of at most M of its masks, in the order drawn."""
    window: Window
    hw: tuple[int, int]
    """Size of the window in the input square."""
    flip: bool
    colour: Colour | None
    paste: Paste | None
    order: tuple[int, ...]
    """Order in which objects are prompted; 0 is the pasted object, if there is one, and the masks follow."""


class Sources:
    """Draws photos, source by source."""

    def __init__(self, photos: Survey, config: DataConfig) -> None:
        groups: dict[str, list[int]] = defaultdict(list)
        for i, source in enumerate(photos.sources):
            groups[source].append(i)
        self.groups = sorted(groups.items())
        weights = [
            config.source_weights.get(name, config.other_weight) * len(members) ** config.size_power
            for name, members in self.groups
        ]
        self.probabilities = np.array(weights) / sum(weights)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw the number of a photo: first a source by weight, then one of its photos."""
        _, members = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
        return members[int(rng.integers(len(members)))]


def facts_of(photo: DecodedPhoto) -> Facts:
    """Collect the facts about a decoded photo."""
    areas = np.array([max(area, 0.0) for area in photo.areas])
    boxes = np.zeros((len(areas), 4))
    if len(areas):
        boxes = np.array(coco_mask.toBbox(list(photo.run_lengths)), np.float64)  # x, y, w, h
        boxes[:, 2:] += boxes[:, :2]
    return Facts((photo.rgb.shape[0], photo.rgb.shape[1]), areas, boxes)


def draw_plan(
    pick: Callable[[np.random.Generator], int],
    facts: Callable[[int], Facts],
    config: DataConfig,
    side: int,
    object_crops: float,
    rng: np.random.Generator,
) -> Plan:
    """Draw the whole plan for one photo.

    Args:
        pick: draws the number of a photo.
        facts: number of a photo → what is known of it.
        config: what is done, and how often.
        side: of the square.
        object_crops: probability of a window around one object.
        rng: where all randomness comes from.
    """
    photo = pick(rng)
    about = facts(photo)
    window, target = draw_window(about, config, object_crops, rng)
    masks = draw_masks(about, window, config, target, rng)
    stretch = math.exp(rng.uniform(-1, 1) * math.log(config.max_stretch))
    hw = target_hw((window.height, window.width), side, stretch)
    flip = bool(rng.random() < 0.5)
    paste = None
    if rng.random() < config.paste_probability:
        other = pick(rng)
        paste = draw_paste(other, facts(other), window, config, rng)
    colour = draw_colour(config.colour, rng)
    order = tuple(int(i) for i in rng.permutation(len(masks) + (paste is not None)))
    return Plan(photo, masks, window, hw, flip, colour, paste, order)


def draw_window(
    about: Facts, config: DataConfig, object_crops: float, rng: np.random.Generator
) -> tuple[Window, int | None]:
    """Draw a crop window, and the object that it was drawn around, if any."""
    target = draw_object(about, rng) if rng.random() < object_crops else None
    y, x, height, width = random_crop(about.hw, config, rng) if target is None else around(about, target, rng)
    angle = 0.0
    if rng.random() < config.rotate_probability:
        angle = math.radians(rng.uniform(-config.max_rotation, config.max_rotation))
    return Window(y, x, height, width, angle), target


def draw_object(about: Facts, rng: np.random.Generator) -> int | None:
    """Draw an object to crop around, larger ones only a little more often; None if no object has a suitable size."""
    fits = np.flatnonzero((about.areas >= MIN_OBJECT) & (about.areas < 0.4 * about.hw[0] * about.hw[1]))
    if not len(fits):
        return None
    weights = about.areas[fits] ** 0.25
    return int(rng.choice(fits, p=weights / weights.sum()))


def around(about: Facts, index: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A window (y, x, height, width) around an object, as square as the photo allows."""
    x0, y0, x1, y1 = about.boxes[index]
    low, high = (math.log(margin) for margin in OBJECT_MARGIN)
    side = max(MIN_WINDOW, round(max(x1 - x0, y1 - y0) * math.exp(rng.uniform(low, high))))
    height, width = min(side, about.hw[0]), min(side, about.hw[1])
    shift_y, shift_x = rng.uniform(-OBJECT_SHIFT, OBJECT_SHIFT, 2) * side
    y, x = round((y0 + y1 - height) / 2 + shift_y), round((x0 + x1 - width) / 2 + shift_x)
    return min(max(0, y), about.hw[0] - height), min(max(0, x), about.hw[1] - width), height, width


def random_crop(hw: tuple[int, int], config: DataConfig, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A window (y, x, height, width) of the photo; the whole of it when no crop is drawn."""
    h, w = hw
    if rng.random() >= config.crop_probability:
        return 0, 0, h, w
    height, width = (min(n, max(16, round(n * rng.uniform(config.min_crop, 1)))) for n in hw)
    return int(rng.integers(0, h - height + 1)), int(rng.integers(0, w - width + 1)), height, width


def target_hw(hw: tuple[int, int], size: int, stretch: float) -> tuple[int, int]:
    """Size after an aspect change, with the long side at `size`."""
    h, w = hw[0] * stretch, float(hw[1])
    scale = size / max(h, w)
    return max(1, min(size, round(h * scale))), max(1, min(size, round(w * scale)))


def draw_masks(
    about: Facts, window: Window, config: DataConfig, target: int | None, rng: np.random.Generator
) -> tuple[int, ...]:
    """Draw at most M masks that lie sufficiently inside the window; larger ones more often, as specks teach little.

    The object that the window was laid around comes first. How much of a mask the window holds is estimated from its
    box; what turns out too small in the square is left out later.
    """
    low = np.maximum(about.boxes[:, :2], (window.x, window.y))
    high = np.minimum(about.boxes[:, 2:], (window.x + window.width, window.y + window.height))
    seen = (high - low).clip(min=0).prod(axis=1) / (about.boxes[:, 2:] - about.boxes[:, :2]).prod(axis=1).clip(min=1)
    areas = about.areas * seen
    fits = np.flatnonzero(areas >= config.min_area * max(window.height, window.width) ** 2)
    first = [] if target is None else [target]
    fits = fits[~np.isin(fits, first)]
    count = min(len(fits), config.masks_per_photo - len(first))
    if not count:
        return tuple(first)
    weights = np.sqrt(areas[fits])
    return (*first, *(int(i) for i in rng.choice(fits, count, replace=False, p=weights / weights.sum())))


def draw_paste(photo: int, about: Facts, window: Window, config: DataConfig, rng: np.random.Generator) -> Paste | None:
    """Draw an object of photo number `photo` and where to paste it; None if no object is large enough."""
    fits = np.flatnonzero(about.areas >= max(4, config.min_area * about.hw[0] * about.hw[1]))
    if not len(fits):
        return None
    weights = np.sqrt(about.areas[fits])
    mask = int(rng.choice(fits, p=weights / weights.sum()))
    x0, y0, x1, y1 = (int(v) for v in about.boxes[mask])
    h, w, box_h, box_w = window.height, window.width, max(1, y1 - y0), max(1, x1 - x0)
    scale = rng.uniform(*PASTE_SIZE) * max(h, w) / max(box_h, box_w)
    scale = min(scale, 2.0, h / box_h, w / box_w)
    ph, pw = min(h, max(2, int(box_h * scale))), min(w, max(2, int(box_w * scale)))
    y, x = int(rng.integers(0, h - ph + 1)), int(rng.integers(0, w - pw + 1))
    return Paste(photo, mask, (x0, y0, x0 + box_w, y0 + box_h), y, x, (ph, pw), bool(rng.random() < 0.5))


def draw_colour(strength: float, rng: np.random.Generator) -> Colour | None:
    """Draw brightness, contrast, gain of each channel, saturation, and sometimes grey."""
    if strength <= 0:
        return None
    contrast, saturation = 1 + rng.uniform(-strength, strength, 2)
    red, green, blue = 1 + rng.uniform(-strength / 3, strength / 3, 3)
    brightness = 128 * rng.uniform(-strength, strength)
    if rng.random() < 0.1:
        saturation = 0.0
    return Colour(float(contrast), float(saturation), float(brightness), (float(red), float(green), float(blue)))


def are_usable(areas: Any, least: float, whole: float = 1.0) -> Any:
    """Whether masks are worth a prompt, by their areas: neither specks nor nearly the whole square.

    Args:
        areas: a number, or an array or tensor of them.
        least: the smallest usable area, as a share of the square.
        whole: area of the square, in the unit of `areas`.

    Returns:
        True or False for each area, in an array or tensor if they are in one.
    """
    return (areas >= least * whole) & (areas < MAX_SHARE * whole)


def choose(usable: NDArray[np.bool_], order: tuple[int, ...], count: int) -> NDArray[np.intp]:
    """Draw `count` of the (K,) usable masks, repeated if there are fewer; empty if there is none."""
    kept = np.array([i for i in order if usable[i]], np.intp)
    return np.resize(kept, count) if len(kept) else kept
