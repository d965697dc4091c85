"""Photos in epochs, as the network will see them at inference, each with its cached embedding.

Item i is photo permutation(seed, epoch)[i mod n] of epoch i div n: a function of (seed, i) alone, so a run that was
killed in the middle of an epoch goes on with the very next photo. A photo may be shown as one of several views; which
one is drawn by (seed, i) too.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mobilesam.contract import PATCH_SIZE
from mobilesam.errors import DataError
from mobilesam.image import resize_long_side
from mobilesam.shards import Photo, PhotoSource, read_photo
from mobilesam.store import Embedding, Store, covered_cells
from mobilesam.train.config import DataConfig
from mobilesam.train.survey import Survey
from mobilesam.train.views import View, make_view

# S side of the network's square, C channels, g grid, M masks per photo


@dataclass(frozen=True)
class Needs:
    """What a step asks of each photo; what it does not ask for is not read."""

    image: bool = True
    masks: bool = False


class EpochPhotos(Dataset[dict[str, Any]]):
    """Photo number i.

    An item is `name`, `input_hw` (2,) the part of the square that the photo covers, and as needed `image` (3, S, S)
    uint8, `masks` (M, S, S) bool, `embedding` (C, g, g) with zeros where the store keeps nothing.

    Args:
        photos: what there is.
        config: masks per photo and their smallest area.
        image_size: S.
        seed: of order and views.
        stores: photo name → the store that has it; None where nothing is cached.
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
        stores: dict[str, Store] | None,
        views: int = 1,
        view_seed: int = 0,
        needs: Needs,
    ) -> None:
        self.samples = photos.samples
        self.config, self.image_size, self.seed = config, image_size, seed
        self.stores, self.views, self.view_seed, self.needs = stores, views, view_seed, needs

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch, position = divmod(index, len(self.samples))
        sample = self.samples[permutation(len(self.samples), self.seed, epoch)[position]]
        rng = np.random.default_rng([self.seed, index])
        return self.show(sample, int(rng.integers(self.views)), rng)

    def show(self, sample: PhotoSource, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """View `index` of a photo, and what goes with it."""
        photo = read_photo(sample, need_record=self.needs.masks)
        view = make_view(sample.name, index, photo.rgb.shape[:2], self.view_seed)
        rgb = resize_long_side(np.ascontiguousarray(view.cut(photo.rgb)), self.image_size)
        item: dict[str, Any] = {"name": sample.name, "input_hw": torch.tensor(rgb.shape[:2])}
        if self.needs.image:
            item["image"] = torch.from_numpy(pad_square(rgb.transpose(2, 0, 1), self.image_size))
        if self.needs.masks:
            masks = self.draw_masks(photo, view, rgb.shape[:2], rng)
            item["masks"] = torch.from_numpy(pad_square(masks, self.image_size)).bool()
        if self.stores is not None:
            grid = self.image_size // PATCH_SIZE
            embedding = self.stores[sample.name].read(sample.name, index)
            check_cells(sample, embedding, covered_cells(rgb.shape[:2]), grid)
            item["embedding"] = torch.from_numpy(pad_square(embedding, grid))
        return item

    def draw_masks(self, photo: Photo, view: View, hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
        """M masks of a view, resized to (h, w): (M, h, w); repeated where there are fewer usable ones.

        A view that cut every object away is asked about its middle half instead, which is as good a prompt.
        """
        areas = np.sqrt([max(float(a["area"]), 1.0) for a in photo.annotations])
        found: list[NDArray[np.uint8]] = []
        # An exponential race draws without replacement, the larger objects a little more often.
        for i in np.argsort(rng.exponential(size=len(areas)) / areas):
            mask = shrink(view.cut(photo.mask(int(i))), hw)
            if self.config.min_area * self.image_size**2 <= mask.sum() < 0.95 * self.image_size**2:
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
    """Order of the photos in one epoch."""
    return np.random.default_rng([seed, epoch, 0x0E]).permutation(count)


def shrink(mask: NDArray[np.bool_], hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a mask by area coverage: (h, w) of 0 and 1."""
    resized = cv2.resize(mask.astype(np.uint8) * 255, (hw[1], hw[0]), interpolation=cv2.INTER_AREA)
    return (np.asarray(resized) > 127).astype(np.uint8)


def pad_square(array: NDArray[Any], size: int) -> NDArray[Any]:
    """Zeros right and bottom: (K, h, w) → (K, size, size)."""
    out = np.zeros((array.shape[0], size, size), array.dtype)
    out[:, : array.shape[1], : array.shape[2]] = array
    return out


def check_cells(sample: PhotoSource, embedding: Embedding, expected: tuple[int, int], grid: int) -> None:
    """Refuse an embedding of another photo of the same name.

    Raises:
        DataError: its shape is not this photo's.
    """
    if embedding.shape[1:] not in (expected, (grid, grid)):
        raise DataError(
            f"{sample.where}: photo '{sample.name}' covers {expected} cells, its cached embedding "
            f"{embedding.shape[1:]}; the photo has changed, so embed this shard again"
        )


def keep_fraction(photos: Survey, fraction: float, only_sources: tuple[str, ...] = ()) -> Survey:
    """A share of the photos, chosen by name: the same in every run, smaller shares within larger ones."""
    dropped = [s.name for s in photos.samples if zlib.crc32(b"fraction" + s.name.encode()) / 2**32 >= fraction]
    if only_sources:
        pairs = zip(photos.samples, photos.sources, strict=True)
        dropped += [sample.name for sample, source in pairs if source not in only_sources]
    kept = photos.without(dropped)
    if not kept.samples:
        raise DataError("no photo is left of data.fraction and data.only_sources; sources here: " + _known(photos))
    return kept


def _known(photos: Survey) -> str:
    return ", ".join(sorted(set(photos.sources)))


def in_photo(input_hw: Tensor, size: int) -> Tensor:
    """Which pixels or cells of a square lie in the photo: (B, 2) (h, w) → (B, 1, size, size) bool."""
    at = torch.arange(size, device=input_hw.device)
    rows, columns = at < input_hw[:, :1], at < input_hw[:, 1:]  # (B, size) each
    return (rows[:, :, None] & columns[:, None, :])[:, None]
