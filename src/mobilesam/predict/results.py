"""What a prompt is answered with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam import boxes, masks
from mobilesam.errors import ImageError
from mobilesam.files import replacing
from mobilesam.image import PhotoLike, Rgb, open_photo
from mobilesam.predict.closeup import Closeup

# K masks, H W photo, L = 4g side of the logits


@dataclass(frozen=True)
class Mask:
    """One mask of one photo."""

    array: NDArray[np.bool_]
    """(H, W)"""
    score: float
    """The model's own estimate of the mask's IoU, about 0-1."""
    photo: Rgb | None = field(default=None, repr=False, compare=False)
    """The photo it was cut from, where it is at hand."""

    @cached_property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Tight box in pixels, right and bottom exclusive; all 0 for an empty mask."""
        return boxes.from_mask(self.array)

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.array.sum())

    def rle(self) -> masks.Rle:
        """COCO's compressed run-length encoding."""
        return masks.to_rle(self.array)

    def polygons(self) -> list[masks.Polygon]:
        """Connected pieces with their holes."""
        return masks.to_polygons(self.array)

    def cutout(self, photo: PhotoLike | None = None) -> Image.Image:
        """The object alone, cropped to its box, transparent around it.

        Args:
            photo: needed only where the embedding was loaded from a file and so has no photo.

        Raises:
            ImageError: there is no photo, it has another size, or the mask is empty.
        """
        rgb = self.photo if photo is None else open_photo(photo)
        if rgb is None:
            raise ImageError("this mask comes from a saved embedding; give the photo: mask.cutout(photo)")
        if rgb.shape[:2] != self.array.shape:
            raise ImageError(f"the photo is {rgb.shape[1]}x{rgb.shape[0]}, the mask {self.array.shape[::-1]}")
        x0, y0, x1, y1 = self.box_xyxy
        if x1 == x0:
            raise ImageError("the mask is empty; there is nothing to cut out")
        alpha = self.array.astype(np.uint8)[..., None] * 255
        return Image.fromarray(np.concatenate([rgb, alpha], axis=2)[y0:y1, x0:x1])

    def to_dict(self) -> dict[str, object]:
        """JSON-able: COCO's `segmentation`, `bbox` (xywh), `area`, and the `score`."""
        return {
            "segmentation": self.rle(),
            "bbox": list(boxes.xyxy_to_xywh(self.box_xyxy)),
            "area": self.area,
            "score": self.score,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mask as a picture, 255 on the object and 0 elsewhere, or as JSON where the name ends so.

        Raises:
            ImageError: the picture format is unknown.
            OSError: the file cannot be written.
        """
        path = Path(path)
        with replacing(path) as partial:
            if path.suffix == ".json":
                partial.write_text(json.dumps(self.to_dict()) + "\n", encoding="utf-8")
                return
            try:
                Image.fromarray(self.array.astype(np.uint8) * 255).save(partial)
            except ValueError as error:
                raise ImageError(f"cannot save a mask as '{path.suffix}'; use .png or .json") from error


@dataclass(frozen=True)
class Prediction:
    """The masks that answer one prompt: three for an ambiguous one, else one."""

    low_res: NDArray[np.float32]
    """(K, L, L) logits of the first look over the padded square; what `prior` takes."""
    scores: NDArray[np.float32]
    """(K,) predicted IoU."""
    image_size: int
    input_hw: tuple[int, int]
    original_hw: tuple[int, int]
    photo: Rgb | None = field(default=None, repr=False, compare=False)
    closeups: tuple[Closeup | None, ...] = field(default=(), repr=False)
    """K, one for each mask that got a second look; empty where none did."""

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """(K, H, W) at the photo's size."""
        return np.stack([self._mask(i) for i in range(len(self))])

    def _mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W) of one mask. Where the object ends with its region, nothing of the whole photo's size is scaled up."""
        closeup = self.closeups[index] if self.closeups else None
        if closeup is None or closeup.goes_on:
            return masks.threshold(self.logits(index))
        return closeup.mask(self.original_hw)

    def logits(self, index: int, hw: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """(H, W) logits of one mask at the photo's size, or at another that stands for it."""
        closeup = self.closeups[index] if self.closeups else None
        size = hw if hw is not None and closeup is None else self.original_hw
        first = masks.upscale(self.low_res[index], self.image_size, self.input_hw, size)
        if closeup is None:
            return first
        whole = closeup.paste(first)
        if hw is None or hw == self.original_hw:
            return whole
        return np.asarray(cv2.resize(whole, hw[::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    @property
    def best_index(self) -> int:
        """The mask with the highest score."""
        return int(self.scores.argmax())

    @cached_property
    def best(self) -> Mask:
        """The mask with the highest score; the others are not made for it."""
        return self[self.best_index]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> Mask:
        is_made = "masks" in self.__dict__  # a cached property's value lies there
        array = self.masks[index] if is_made else self._mask(index)
        return Mask(array, float(self.scores[index]), self.photo)

    def __iter__(self) -> Iterator[Mask]:
        return (self[i] for i in range(len(self)))
