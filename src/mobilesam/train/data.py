"""An endless, reproducible stream of training photos.

Item number i (its source, photo and crop) depends only on the seed, on i and on the requested side. There is no state
to save, so a run that was killed continues with the next number and gets exactly the photos it would have had.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mobilesam.data.decoded import DecodedPhoto, read_photo, warn_left_out
from mobilesam.data.survey import Survey
from mobilesam.errors import DataError
from mobilesam.train import augment
from mobilesam.train.devices import share, share_workers
from mobilesam.train.drawing import Facts, Plan, Sources, are_usable, choose, draw_plan, facts_of
from mobilesam.train.photo_config import DataConfig
from mobilesam.train.run_config import RunConfig
from mobilesam.train.schedule import Ask, Schedule

# S side of the network's square, M masks per photo

MAX_TRIES = 100


class MaskPhotos(Dataset[dict[str, Any]]):
    """Data set of augmented photos with M masks each.

    An item is `name` of data set and photo, `image` (3, S, S) uint8, `masks` (M, S, S) bool, and `left_out`, a line
    for each damaged photo that it stands in for. Where a photo has fewer than M usable masks they repeat: each is
    prompted differently.

    Args:
        photos: what there is.
        config: how often which, and what is done to them.
        image_size: S for items that are requested by number alone.
        seed: of everything drawn.
    """

    def __init__(self, photos: Survey, config: DataConfig, image_size: int, seed: int) -> None:
        self.photos, self.sources = photos.photos, Sources(photos, config)
        self.config, self.image_size, self.seed = config, image_size, seed

    def __getitem__(self, index: int | Ask) -> dict[str, Any]:
        ask = index if isinstance(index, Ask) else Ask(index, self.image_size)
        rng = np.random.default_rng([self.seed, ask.number])
        trouble = "all too small"
        left_out: list[str] = []
        for _ in range(MAX_TRIES):  # a photo may be damaged, or have no usable mask left after its crop
            read = Reader(self)
            try:
                plan = draw_plan(self.sources.draw, read.facts, self.config, ask.side, self.object_crops(ask), rng)
                rgb, masks = read.carry_out(plan, ask.side)
            except DataError as error:
                warn_left_out(error)
                trouble = str(error)
                left_out.append(trouble)
                continue
            areas = masks.mean(axis=(1, 2))
            usable = are_usable(areas, self.config.min_area)
            chosen = choose(usable, plan.order, self.config.masks_per_photo)
            if len(chosen):
                break
        else:
            raise DataError(f"no usable mask in {MAX_TRIES} photos ({trouble}); lower data.min_area")
        return {
            "name": read.name(plan),
            "left_out": "\n".join(left_out),
            "image": torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))),
            "masks": torch.from_numpy(masks[chosen].astype(bool)),
        }

    def object_crops(self, ask: Ask) -> float:
        """The probability of a crop around an object: the phase's if it sets one, else the recipe's."""
        asked = ask.object_crop_probability
        return self.config.object_crop_probability if asked is None else asked


class Reader:
    """Reader of the one or two photos of a plan, which decodes each once."""

    def __init__(self, dataset: MaskPhotos) -> None:
        self.photos = dataset.photos
        self.decoded: dict[int, DecodedPhoto] = {}

    def photo(self, index: int) -> DecodedPhoto:
        """Decode photo `index`, or return it if it has been decoded already."""
        if index not in self.decoded:
            self.decoded[index] = read_photo(self.photos[index])
        return self.decoded[index]

    def facts(self, index: int) -> Facts:
        """The facts about photo `index` that the drawing of a plan needs."""
        return facts_of(self.photo(index))

    def name(self, plan: Plan) -> str:
        """Name of the plan's photo."""
        return str(self.photos[plan.photo].id)

    def carry_out(self, plan: Plan, side: int) -> tuple[augment.Rgb, augment.Pixels]:
        """Apply the plan: the augmented photo (S, S, 3) and its masks (K, S, S)."""
        photo, paste = self.photo(plan.photo), plan.paste
        masks = [photo.mask(i).astype(np.uint8) for i in plan.masks]
        cut = None
        if paste is not None:
            other = self.photo(paste.photo)
            cut = (other.rgb, other.mask(paste.mask).astype(np.uint8))
        return augment.carry_out(plan, photo.rgb, masks, cut, side)


class FromStep(Sampler[list[int | Ask]]):
    """Batch sampler of this process from a given step on; a batch is decided only when it is about to be read.

    Args:
        schedule: sets the side of each batch; where no phase changes photos, a photo is requested by its number alone.
        start: step to continue from.
        batch_size: photos per forward pass, of all processes.
        rank, world_size: this process among all.
    """

    def __init__(self, schedule: Schedule, start: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.schedule, self.start = schedule, start
        self.batch_size, self.own = batch_size, share(batch_size, world_size)
        self.rank = rank

    def __iter__(self) -> Iterator[list[int | Ask]]:
        schedule, accumulate = self.schedule, self.schedule.accumulate
        changes_photos = any(phase.changes_photos for phase in schedule.phases)
        end = schedule.steps * accumulate if schedule.steps else None  # a run limited by time is ended by the loop
        for number in itertools.count(self.start * accumulate):
            if number == end:
                return
            first = number * self.batch_size + self.rank * self.own
            numbers = range(first, first + self.own)
            if changes_photos:
                side, object_crops = schedule.ask(number)
                yield [Ask(i, side, object_crops) for i in numbers]
            else:
                yield list(numbers)


def make_loader(
    dataset: Dataset[Any],
    run: RunConfig,
    schedule: Schedule,
    start: int,
    rank: int,
    world_size: int,
    *,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """Make the loader of all batches from step `start` to the end of the run, `run.accumulate` per step.

    It is iterated once, so its workers live as long as the run without being told to persist between epochs.

    Args:
        dataset: item i, or `Ask` i, depends on the request alone.
        run: photos per batch, and workers.
        schedule: sets the side of each batch.
        start: step to continue from.
        rank, world_size: this process among all.
        pin_memory: put batches in pinned memory, from which a GPU copies them while the CPU continues.

    Raises:
        SettingsError: the processes cannot share a batch equally.
    """
    workers = share_workers(run, world_size)
    return DataLoader(
        dataset,
        batch_sampler=FromStep(schedule, start, run.batch_size, rank, world_size),
        num_workers=workers,
        # Prefetch little: in a run limited by time, a batch has the side of the phase in which it was requested.
        prefetch_factor=2 if workers else None,
        worker_init_fn=_use_one_thread,
        pin_memory=pin_memory,
    )


def _use_one_thread(_: int) -> None:
    """Workers share the cores with the network; OpenCV would otherwise start a thread per core in each."""
    cv2.setNumThreads(0)
