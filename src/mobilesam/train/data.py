"""An endless, reproducible stream of training photos.

Photo number i is a pure function of (seed, i): which source, which photo, which crop. Nothing has a state to save,
so a run that was killed goes on at the next number and sees exactly what it would have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from mobilesam.errors import DataError
from mobilesam.shards import Photo, PhotoSource, read_photo
from mobilesam.train import augment
from mobilesam.train.config import DataConfig, RunConfig
from mobilesam.train.survey import Survey

# S side of the network's square, M masks per photo

MAX_TRIES = 100


class MaskPhotos(Dataset[dict[str, Any]]):
    """Photo number i with M of its masks, augmented.

    An item is `name`, `image` (3, S, S) uint8, `masks` (M, S, S) bool. Where a photo has fewer than M usable masks they
    repeat: each is prompted differently.
    """

    def __init__(self, photos: Survey, config: DataConfig, image_size: int, seed: int) -> None:
        self.config = config
        self.image_size = image_size
        self.seed = seed
        groups: dict[str, list[PhotoSource]] = defaultdict(list)
        for sample, source in zip(photos.samples, photos.sources, strict=True):
            groups[source].append(sample)
        self.groups = sorted(groups.items())
        weights = [config.source_weights.get(name, config.other_weight) for name, _ in self.groups]
        self.probabilities = np.array(weights) / sum(weights)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, index])
        for _ in range(MAX_TRIES):  # a photo may have no usable mask left after its crop
            name, rgb, masks = self.draw(rng)
            if len(masks):
                break
        else:
            raise DataError(f"no usable mask in {MAX_TRIES} photos, last '{name}'; lower data.min_area")
        chosen = rng.permutation(np.resize(rng.permutation(len(masks)), self.config.masks_per_photo))
        return {
            "name": name,
            "image": torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))),
            "masks": torch.from_numpy(masks[chosen].astype(bool)),
        }

    def draw(self, rng: np.random.Generator) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
        """The name of a photo, the photo augmented (S, S, 3), and its usable masks (at most M, S, S)."""
        photo = self.draw_photo(rng)
        rgb, masks = photo.rgb, self.draw_masks(photo, rng)
        if rng.random() < self.config.paste_probability:
            other = self.draw_photo(rng)
            cut_masks = self.draw_masks(other, rng)
            if cut_masks:
                rgb, masks = augment.paste(rgb, masks, other.rgb, cut_masks[0], rng)
        rgb, placed = augment.place(rgb, masks, self.image_size, self.config, rng)
        areas = placed.mean(axis=(1, 2))
        usable = (areas >= self.config.min_area) & (areas < 0.95)
        return photo.name, rgb, placed[usable]

    def draw_photo(self, rng: np.random.Generator) -> Photo:
        """A photo of a source drawn by weight."""
        _, samples = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
        return read_photo(samples[rng.integers(len(samples))])

    def draw_masks(self, photo: Photo, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
        """At most M masks; larger ones a little more often, since specks teach little."""
        areas = np.array([max(float(a["area"]), 0.0) for a in photo.annotations])
        candidates = np.flatnonzero(areas >= self.config.min_area * photo.rgb.shape[0] * photo.rgb.shape[1])
        if not len(candidates):
            return []
        weights = np.sqrt(areas[candidates])
        count = min(len(candidates), self.config.masks_per_photo)
        picked = rng.choice(candidates, count, replace=False, p=weights / weights.sum())
        return [photo.mask(int(i)).astype(np.uint8) for i in picked]


class FromStep(Sampler[int]):
    """The numbers of the photos that this process still has to see.

    Args:
        start: step to go on from.
        stop: step to end before.
        batch_size: photos per step and process.
        rank, world_size: this process among all.
    """

    def __init__(self, start: int, stop: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.start, self.stop, self.batch_size = start, stop, batch_size
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[int]:
        for step in range(self.start, self.stop):
            first = (step * self.world_size + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)

    def __len__(self) -> int:
        return (self.stop - self.start) * self.batch_size


def make_loader(dataset: Dataset[Any], run: RunConfig, start: int, rank: int, world_size: int) -> DataLoader[Any]:
    """Batches from step `start` to the end of the run, `run.accumulate` of them for every step."""
    sampler = FromStep(start * run.accumulate, run.steps * run.accumulate, run.batch_size, rank, world_size)
    return DataLoader(
        dataset,
        batch_size=run.batch_size,
        sampler=sampler,
        num_workers=run.workers,
        prefetch_factor=4 if run.workers else None,
        worker_init_fn=_use_one_thread,
    )


def _use_one_thread(_: int) -> None:
    """Workers share the cores with the network; OpenCV would otherwise start a thread per core in each."""
    cv2.setNumThreads(0)
