"""Following one object from frame to frame, losing it, and finding it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes, masks
from mobilesam.errors import PromptError
from mobilesam.image import Rgb
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.results import Mask
from mobilesam.region import BoxXyxy, Region
from mobilesam.tracking.appearance import Appearance
from mobilesam.tracking.judge import Evidence, Judged, decide, has_area
from mobilesam.tracking.region import square_around
from mobilesam.tracking.results import TrackedObject
from mobilesam.tracking.settings import ObjectPrompt, TrackSettings

# H W frame, h w region

GROWTH = 1.5  # each frame in which an object is lost, the region of the search grows by this
SIZE_SHARE = 0.2  # of the newest frame in the mean size of recent ones
CLAIMED = 0.3  # pixels that another object claims more than this are its own
TOUCH = np.ones((5, 5), np.uint8)  # objects nearer than two pixels touch
AREA_CHANGE = 4.0  # a mask that is so many times larger or smaller than when it was lost is another object


@dataclass(frozen=True)
class Sighting:
    """What was found of an object in one frame."""

    mask: NDArray[np.bool_]
    """(H, W)"""
    score: float
    agreement: float


@dataclass(frozen=True)
class Rival:
    """Another object in the frame: pixels that look more like it than like the followed object count as its own."""

    appearance: Appearance
    carried: NDArray[np.float32]
    """(H, W) 0-1, its last mask moved by optical flow."""

    def claim(self, image: ImageEmbedding, region: Region, own: NDArray[np.float32]) -> NDArray[np.float32]:
        """How likely each pixel of a region belongs to this object and not to the one of likeness `own`: (h, w) 0-1."""
        place: NDArray[np.float32] = region.cut(self.carried)  # (h, w)
        if place.max() < CLAIMED:
            return np.zeros_like(own)
        theirs = self.appearance.likeness(image)
        return place * theirs / (own + theirs + 1e-6)


@dataclass(frozen=True)
class Start:
    """One object in its first frame: its mask, and the encoded region around it."""

    found: TrackedObject
    mask: NDArray[np.bool_]
    """(H, W)"""
    close: ImageEmbedding
    """The region around it."""
    close_mask: NDArray[np.bool_]
    """(h, w)"""

    def overlaps(self, other: Start) -> bool:
        """Whether two objects are one, or one is a part of the other."""
        return bool((self.mask & other.mask).sum() > 0.5 * min(self.mask.sum(), other.mask.sum()))


class Follower:
    """Follows one object: keeps its last mask, its box and its appearance. Memory does not grow with the video."""

    def __init__(self, predictor: Predictor, id: int, settings: TrackSettings) -> None:
        self.predictor = predictor
        self.id = id
        self.settings = settings
        self.appearance = Appearance(settings)
        self.mask: NDArray[np.bool_] | None = None
        """(H, W) of the last frame, or None while the object is lost."""
        self.box: BoxXyxy = (0, 0, 0, 0)
        """Where it was last seen."""
        self.missed = 0
        """Number of frames since then."""
        self.usual_area = 0.0
        """The mean number of its pixels in recent frames."""
        self.frame_hw = (0, 0)

    def start(self, frame: Rgb, prompt: ObjectPrompt) -> Start:
        """Segment the object in its first frame and learn its appearance.

        Raises:
            PromptError: the prompt is invalid for this frame, or its mask is empty.
        """
        image = self.predictor.embed(frame)
        found = image.predict(points=prompt.points, labels=prompt.labels, box=prompt.box).best
        if not found.area:
            raise PromptError(f"the prompt of object {self.id} gives an empty mask; try another point, or a box")
        region = square_around(found.box_xyxy, self.settings.region_factor, _hw(frame))
        close, mask = self.predictor.embed(region.cut(frame)), region.cut(found.array)
        self.appearance.learn(close, mask)
        self._keep(found.array)
        return Start(self._seen(Sighting(found.array, found.score, 1.0)), found.array, close, mask)

    def step(self, frame: Rgb, carried: NDArray[np.float32] | None, rivals: Sequence[Rival] = ()) -> TrackedObject:
        """Find the object in the next frame.

        Args:
            frame: (H, W, 3).
            carried: (H, W) its last mask moved by optical flow; None if it is lost.
            rivals: the other objects that are not lost.
        """
        sighting = self._search(frame, rivals) if carried is None else self._follow(frame, carried, rivals)
        limit = self.settings.found_above if self.mask is None else self.settings.lost_below
        if sighting.agreement < limit or not sighting.mask.any():
            return self.lose(sighting.agreement)
        self._keep(sighting.mask)
        return self._seen(sighting)

    def lose(self, agreement: float) -> TrackedObject:
        """Forget where the object is, but not what it looks like."""
        self.missed += 1
        self.mask = None
        empty = masks.to_rle(np.zeros(self.frame_hw, bool))
        return TrackedObject(self.id, Mask(empty, 0.0), agreement, is_lost=True)

    def _follow(self, frame: Rgb, carried: NDArray[np.float32], rivals: Sequence[Rival]) -> Sighting:
        """Look around the mask that the flow has carried over."""
        moved = boxes.from_mask(carried > 0.5)
        # No box: it has left the frame, or was smaller than what the flow can carry.
        box = no_smaller(moved if has_area(moved) else self.box, self.box, self.settings.smallest_change)
        region = square_around(box, self.settings.region_factor, _hw(frame))
        return self._look(frame, region, region.cut(carried), box, rivals)

    def _search(self, frame: Rgb, rivals: Sequence[Rival]) -> Sighting:
        """Look for a lost object: roughly, in a region that grows with time, then closely at what looks like it."""
        factor = self.settings.region_factor * GROWTH ** min(self.missed, 20)
        rough = self._look(frame, square_around(self.box, factor, _hw(frame)), None, None, rivals)
        if not rough.mask.any():
            return rough
        near = square_around(boxes.from_mask(rough.mask), self.settings.region_factor, _hw(frame))
        close = self._look(frame, near, None, None, rivals)
        change = float(close.mask.sum()) / max(1.0, self.usual_area)
        if not 1 / AREA_CHANGE < change < AREA_CHANGE:
            return Sighting(np.zeros_like(close.mask), 0.0, 0.0)
        return close

    def _look(
        self,
        frame: Rgb,
        region: Region,
        carried: NDArray[np.float32] | None,
        box: BoxXyxy | None,
        rivals: Sequence[Rival],
    ) -> Sighting:
        """Encode a region and decide which mask in it is the object; learn from it where that is sure."""
        image = self.predictor.embed(region.cut(frame))
        inside = None if box is None else region.inside(box)
        own = self.appearance.likeness(image)
        taken = np.zeros_like(own)
        for rival in rivals:
            taken = np.maximum(taken, rival.claim(image, region, own))
        evidence = Evidence(own * (1 - taken), carried, inside, self.settings.flow_share, taken, self.usual_area)
        found: Judged = decide(image, evidence, self.settings)
        is_sure = carried is not None and found.agreement > self.settings.learn_above
        # Where another object touches this one, the border between them is too unsure to learn from.
        if is_sure and found.mask.any() and not (found.mask & (cv2.dilate(taken, TOUCH) > CLAIMED)).any():
            self.appearance.learn(image, found.mask)
        return Sighting(region.paste(found.mask, _hw(frame)), found.score, found.agreement)

    def _keep(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        self.frame_hw = _hw(mask)
        self.box, self.missed = boxes.from_mask(mask), 0
        share = SIZE_SHARE if self.usual_area else 1.0
        self.usual_area += share * (float(mask.sum()) - self.usual_area)

    def _seen(self, found: Sighting) -> TrackedObject:
        # Run lengths: a caller who keeps the results of a long video then keeps kilobytes for each frame.
        return TrackedObject(self.id, Mask(masks.to_rle(found.mask), found.score), found.agreement)


def no_smaller(box: BoxXyxy, last: BoxXyxy, share: float) -> BoxXyxy:
    """Enlarge a box around its centre until each side is at least this share of the last box's."""
    x0, y0, x1, y1 = box
    width = max(x1 - x0, share * (last[2] - last[0]))
    height = max(y1 - y0, share * (last[3] - last[1]))
    return (x0 + x1 - width) / 2, (y0 + y1 - height) / 2, (x0 + x1 + width) / 2, (y0 + y1 + height) / 2


def _hw(picture: NDArray[np.generic]) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]
