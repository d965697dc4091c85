"""For `looks.py`: second looks of one prompt at any region, with any of its masks, and means with a mirrored photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes
from mobilesam.evaluate.metrics import iou
from mobilesam.predict import zoom
from mobilesam.predict.closeup import Closeup
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.enclosure import Enclosure
from mobilesam.predict.prompts import Prompt, make_prompt
from mobilesam.predict.results import Prediction
from mobilesam.region import Region

# H W photo, h w region

Box = tuple[float, float, float, float]
Logits = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Asked:
    """A prompt of an embedded photo, what the first look answers, and the regions that were encoded for it."""

    image: ImageEmbedding
    prompt: Prompt
    seen: dict[Region, Prediction] = field(default_factory=dict)

    @cached_property
    def first(self) -> Prediction:
        """The answer without a second look."""
        box, points = self.prompt.box_xyxy, self.prompt.points_xy
        return self.image.predict(points=points if len(points) else None, box=box, zoom=False)

    @cached_property
    def logits(self) -> Logits:
        """(H, W) of its best mask."""
        return self.first.logits(self.first.best_index)

    @property
    def hw(self) -> tuple[int, int]:
        """(height, width) of the photo."""
        return self.image.original_hw

    def box(self, mask: Mask) -> Box:
        """The prompt's box, or that of a mask which its points gave."""
        return self.prompt.box_xyxy or boxes.from_mask(mask)

    def share(self, mask: Mask) -> float:
        """Longer side of that box, as a share of the photo's; above 1 if there is no mask."""
        x0, y0, x1, y1 = self.box(mask)
        return max(x1 - x0, y1 - y0) / max(self.hw) if min(x1 - x0, y1 - y0) > 0 else float("inf")

    def look(self, region: Region) -> Prediction:
        """All four masks of a region."""
        if region not in self.seen:
            assert self.image.photo is not None
            what = zoom.Look(self.image.photo, self.prompt, region)
            self.seen[region] = zoom.look(self.image.backend, [what])[0]
        return self.seen[region]

    def second(self, region: Region, first: Logits, pick: Callable[[Prediction, Mask], int] = zoom.most_like) -> Logits:
        """Logits (H, W) with a second look.

        Args:
            region: what is encoded again.
            first: (H, W) logits that it refines.
            pick: which of the region's masks replaces the one of `first`, after clicks; a box has one alone.
        """
        seen, has_box = self.look(region), self.prompt.box_xyxy is not None
        x0, y0, x1, y1 = region
        index = 0 if has_box else pick(seen, first[y0:y1, x0:x1] > 0)
        closeup = Closeup(region, seen.low_res[index], seen.image_size, seen.input_hw, goes_on=not has_box)
        whole = closeup.paste(first)
        enclosure = Enclosure.of(self.prompt, self.image.backend.info.outside_box)
        if enclosure is not None:
            enclosure.lower(whole, self.hw)
        return whole


@contextmanager
def regions(factor: float, smallest: int = zoom.SMALLEST_REGION) -> Iterator[None]:
    """Regions have this size inside."""
    before = zoom.REGION_FACTOR, zoom.SMALLEST_REGION
    zoom.REGION_FACTOR, zoom.SMALLEST_REGION = factor, smallest
    try:
        yield
    finally:
        zoom.REGION_FACTOR, zoom.SMALLEST_REGION = before


def margin(asked: Asked, box: Box, factor: float) -> Region:
    """The library's region: the same margin on all sides."""
    with regions(factor):
        return zoom.region_around(box, asked.prompt.points_xy, asked.hw)


def square(asked: Asked, box: Box, factor: float) -> Region:
    """A square around the middle, cut off at the photo's edge."""
    side = factor * max(box[2] - box[0], box[3] - box[1])
    return exactly(asked, box, side, side)


def moved_square(asked: Asked, box: Box, factor: float) -> Region:
    """A square, moved into the photo; as long as the photo where it is larger."""
    side = factor * max(box[2] - box[0], box[3] - box[1])
    w, h = (min(side, length) for length in asked.hw[::-1])
    x = float(np.clip((box[0] + box[2]) / 2, w / 2, asked.hw[1] - w / 2))
    y = float(np.clip((box[1] + box[3]) / 2, h / 2, asked.hw[0] - h / 2))
    return exactly(asked, (x, y, x, y), w, h)


def same_aspect(asked: Asked, box: Box, factor: float) -> Region:
    """A region of the box's own aspect ratio."""
    return exactly(asked, box, factor * (box[2] - box[0]), factor * (box[3] - box[1]))


def exactly(asked: Asked, box: Box, width: float, height: float) -> Region:
    """A region of this size around the middle of a box, as far as the photo goes."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return margin(asked, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), 1)


SHAPES = {
    "margin": margin,
    "square, cut off at the photo's edge": square,
    "square, moved into the photo": moved_square,
    "the box's own aspect": same_aspect,
}


def most_like_of_four(seen: Prediction, mask: Mask) -> int:
    """Index of the mask most similar to the first look's, that for unambiguous prompts included."""
    return max(range(4), key=lambda index: iou(seen.logits(index) > 0, mask))


def best_scored(seen: Prediction, mask: Mask) -> int:
    """Index of the best-scored of the three masks."""
    return 1 + int(seen.scores[1:].argmax())


def clicked_piece(mask: Mask, prompt: Prompt) -> Mask:
    """The connected piece of a mask that was clicked; the whole mask if the click is beside it."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    x, y = (int(value) for value in prompt.points_xy[0])
    return pieces == pieces[y, x] if mask[y, x] else mask


def default_second(asked: Asked, first: Logits) -> tuple[Logits, Region | None]:
    """Logits with a second look where the library gives one by default, and its region."""
    info = asked.image.backend.info
    below = info.click_zoom_below if asked.prompt.box_xyxy is None else info.zoom_below
    if asked.share(first > 0) >= below:
        return first, None
    region = margin(asked, asked.box(first > 0), zoom.REGION_FACTOR)
    return asked.second(region, first), region


def mirrored_mean(asked: Asked, other: Asked, first: Logits) -> Logits:
    """Mean of a second look and of one at the mirrored region; `first` alone where there is none."""
    second, region = default_second(asked, first)
    if region is None:
        return first
    x0, y0, x1, y1 = region
    width = asked.hw[1]
    turned = other.second(Region(width - x1, y0, width - x0, y1), np.ascontiguousarray(first[:, ::-1]))
    return np.asarray((second + turned[:, ::-1]) / 2, np.float32)


def mean_of_first(asked: Asked, other: Asked) -> Logits:
    """Mean of the logits of the photo and of its mirror image, of the mask with the best mean score."""
    best = int((asked.first.scores + other.first.scores).argmax())
    return np.asarray((asked.first.logits(best) + other.first.logits(best)[:, ::-1]) / 2, np.float32)


def mirrored_prompt(prompt: Prompt, width: int) -> Prompt:
    """The same prompt on the mirrored photo."""
    if prompt.box_xyxy is not None:
        x0, y0, x1, y1 = prompt.box_xyxy
        return make_prompt((1 << 30, width), box=(width - x1, y0, width - x0, y1))
    x, y = prompt.points_xy[0]  # a point names the pixel it lies in
    return make_prompt((1 << 30, width), points=[(width - 1 - x, y)])
