"""Results of tracking: the objects of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mobilesam.draw import overlay_labels
from mobilesam.image import Rgb
from mobilesam.predict.results import Mask

# H W frame


@dataclass(frozen=True)
class TrackedObject:
    """One object in one frame: its mask, or that it is lost."""

    id: int
    """1 for the first prompt, 2 for the second, and so on; the same in every frame."""
    mask: Mask
    """Its mask, stored as run lengths; empty where the object is lost. Its score is the IoU that the model predicts."""
    agreement: float
    """How well the mask agrees with the object's appearance, 0-1; where it is lost, that of a refused mask."""
    is_lost: bool = False
    """Whether the object was not found in this frame, so that its mask is empty."""


@dataclass(frozen=True)
class TrackedFrame:
    """One frame of a video with the objects in it."""

    index: int
    """Number of the frame in the video, from 0."""
    name: str
    """File name of the frame without suffix, or its number in five digits if it comes from a video file."""
    photo: Rgb = field(repr=False)
    """(H, W, 3)"""
    objects: tuple[TrackedObject, ...]
    """In the order of the prompts."""

    @property
    def lost(self) -> list[int]:
        """Ids of the objects that are lost in this frame."""
        return [one.id for one in self.objects if one.is_lost]

    def labels(self) -> NDArray[np.uint16]:
        """Label image (H, W): 0 background, else the object's id; smaller objects lie on top of larger ones."""
        labels = np.zeros(self.photo.shape[:2], np.uint16)
        for one in sorted(self.objects, key=lambda one: -one.mask.area):
            labels[one.mask.array] = one.id
        return labels

    def overlay(self) -> Rgb:
        """The frame with its objects tinted, (H, W, 3)."""
        return overlay_labels(self.photo, self.labels())
