"""Data set that shows every photo once per epoch, prepared as at inference, with its cached embedding.

Item i is photo permutation(seed, epoch)[i mod n] of epoch i div n. It depends on (seed, i) alone, so a run that was
killed in the middle of an epoch continues with the next photo. A photo may be shown as one of several views; which one
is also drawn by (seed, i).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from mobilesam.contract import PATCH_SIZE
from mobilesam.data.decoded import DecodedPhoto, decode_photo, read_bytes, warn_left_out
from mobilesam.data.geometry import pad_square, shrink
from mobilesam.data.photo import PhotoId, PhotoRef
from mobilesam.data.store import Store
from mobilesam.data.store_format import Embedding, covered_cells
from mobilesam.data.survey import Survey
from mobilesam.data.views import View, make_view
from mobilesam.errors import DataError
from mobilesam.image import resize_long_side
from mobilesam.train.drawing import are_usable
from mobilesam.train.photo_config import DataConfig

# S side of the network's square, C channels, g grid, M masks per photo


@dataclass(frozen=True)
class Needs:
    """The parts of each photo that a training step needs; the others are not read."""

    image: bool = True
    masks: bool = False


class EpochPhotos(Dataset[dict[str, Any]]):
    """Photo number i.

    An item is `name` of data set and photo, `left_out`, a line for each damaged photo that it stands in for,
    `input_hw` (2,) the part of the square that the photo covers, and as needed
    `image` (3, S, S) uint8, `masks` (M, S, S) bool, `embedding` (C, g, g) with zeros where the store keeps nothing.

    Args:
        photos: what there is.
        config: masks per photo and their smallest area.
        image_size: S.
        seed: of order and views.
        stores: photo → the store that has it; None where nothing is cached.
        views: how many there are to draw from.
        view_seed: of the crops.
        needs: what to read.
    """

    def __init__(
        self,
        photos: Survey,
        config: DataConfig,
        image_size: int,
        seed: int,
        *,
        stores: dict[PhotoId, Store] | None,
        views: int = 1,
        view_seed: int = 0,
        needs: Needs,
    ) -> None:
        self.photos = photos.photos
        self.config, self.image_size, self.seed = config, image_size, seed
        self.stores, self.views, self.view_seed, self.needs = stores, views, view_seed, needs

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> dict[str, Any]:
        count = len(self.photos)
        epoch, position = divmod(index, count)
        order = permutation(count, self.seed, epoch)
        rng = np.random.default_rng([self.seed, index])
        view = int(rng.integers(self.views))
        left_out: list[str] = []
        for i in range(count):  # the next one in order stands in for a photo that turns out to be damaged
            photo = self.photos[order[(position + i) % count]]
            encoded = read_bytes(photo)
            self.check(photo, encoded)
            try:
                decoded = decode_photo(photo, encoded, need_masks=self.needs.masks)
            except DataError as error:
                warn_left_out(error)
                left_out.append(str(error))
                continue
            return {**self.show(photo, decoded, view, rng), "left_out": "\n".join(left_out)}
        raise DataError(f"none of {count} photos can be read")

    def check(self, photo: PhotoRef, encoded: bytes) -> None:
        """Refuse a photo that has changed since its embedding was stored.

        Raises:
            DataError: its bytes have changed.
        """
        if self.stores is not None:
            self.stores[photo.id].check_photo(photo.name, encoded)

    def show(self, reference: PhotoRef, photo: DecodedPhoto, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Prepare view `index` of a photo with its masks and embedding, as needed."""
        view = make_view(reference.name, index, photo.rgb.shape[:2], self.view_seed)
        rgb = resize_long_side(np.ascontiguousarray(view.cut(photo.rgb)), self.image_size)
        item: dict[str, Any] = {"name": str(reference.id), "input_hw": torch.tensor(rgb.shape[:2])}
        if self.needs.image:
            item["image"] = torch.from_numpy(pad_square(rgb.transpose(2, 0, 1), self.image_size))
        if self.needs.masks:
            masks = self.draw_masks(photo, view, rgb.shape[:2], rng)
            item["masks"] = torch.from_numpy(pad_square(masks, self.image_size)).bool()
        if self.stores is not None:
            grid = self.image_size // PATCH_SIZE
            embedding = self.stores[reference.id].read(reference.name, index)
            check_cells(reference, embedding, covered_cells(rgb.shape[:2]), grid)
            item["embedding"] = torch.from_numpy(pad_square(embedding, grid))
        return item

    def draw_masks(
        self, photo: DecodedPhoto, view: View, hw: tuple[int, int], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Draw M masks of a view, resized to (h, w): (M, h, w); repeated where fewer are usable.

        If a view contains no object, its middle half is used as a mask; for distillation that is as good a prompt.
        """
        areas = np.sqrt([max(area, 1.0) for area in photo.areas])
        found: list[NDArray[np.uint8]] = []
        # Sorting by exponential variables draws without replacement, with larger objects a little more often.
        for i in np.argsort(rng.exponential(size=len(areas)) / areas):
            mask = shrink(view.cut(photo.mask(int(i))), hw)
            if are_usable(mask.sum(), self.config.min_area, self.image_size**2):
                found.append(mask)
            if len(found) == self.config.masks_per_photo:
                break
        if not found:
            middle = np.zeros(hw, np.uint8)
            middle[hw[0] // 4 : hw[0] - hw[0] // 4, hw[1] // 4 : hw[1] - hw[1] // 4] = 1
            found = [middle]
        return np.stack([found[i % len(found)] for i in range(self.config.masks_per_photo)])


@lru_cache(maxsize=2)
def permutation(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """The random order of the photos in one epoch."""
    return np.random.default_rng([seed, epoch, 0x0E]).permutation(count)


def check_cells(photo: PhotoRef, embedding: Embedding, expected: tuple[int, int], grid: int) -> None:
    """Refuse an embedding whose shape does not fit the photo; unlike checksums, stores of any format allow it.

    Raises:
        DataError: its shape is not this photo's.
    """
    if embedding.shape[1:] not in (expected, (grid, grid)):
        raise DataError(
            f"{photo.file.path}: photo '{photo.id}' covers {expected} cells, its cached embedding "
            f"{embedding.shape[1:]}; the photo has changed, so delete its store and run `mobilesam distill embed` again"
        )
