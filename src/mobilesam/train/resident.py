"""Keeping all photos of a run in a GPU's memory: decoded once, augmented there.

A GPU trains a small network faster than CPU cores decode and crop photos for it. Photos lie there as bytes and masks as
bits: 10,000 photos of 448 px with 45,000 masks take 7 GB. Only plans, a few numbers for each photo, come from the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mobilesam import boxes
from mobilesam.data.decoded import read_photo, warn_left_out
from mobilesam.data.geometry import shrink
from mobilesam.data.photo import PhotoRef
from mobilesam.errors import DataError
from mobilesam.train import warp
from mobilesam.train.data import FromStep, MaskPhotos
from mobilesam.train.devices import share_workers
from mobilesam.train.drawing import Facts, Plan, draw_plan
from mobilesam.train.run_config import RunConfig
from mobilesam.train.schedule import Ask, Schedule

# n photos, m masks, R side of the squares they lie in, B photos of a batch, M masks per photo

SHARE = 0.4  # largest fraction of the free memory for photos; the network needs the rest


class Decoded(NamedTuple):
    """A decoded photo with its masks, as a worker process returns it."""

    rgb: NDArray[np.uint8]
    """The photo (h, w, 3)."""
    bits: NDArray[np.uint8]
    """The masks (K, h, ceil(w / 8)), 8 pixels per byte."""
    facts: Facts
    left_out: str = ""
    """Why a damaged photo is not used."""


class ResidentPhotos:
    """Photos and masks in the memory of a device.

    Args:
        photos: where they lie.
        counts: how many masks each has at most.
        side: R, a multiple of 8; larger photos are reduced to it.
        device: where to.
        workers: processes that decode; 0 for this one.
    """

    def __init__(
        self, photos: list[PhotoRef], counts: list[int], side: int, device: torch.device, workers: int
    ) -> None:
        self.side, self.names = side, [str(photo.id) for photo in photos]
        self.first = np.concatenate([[0], np.cumsum(counts)])  # (n + 1,) number of each photo's first mask
        self.rgb = torch.zeros(len(photos), 3, side, side, dtype=torch.uint8, device=device)
        # An additional empty mask at the end, so that index -1 means "no mask".
        self.bits = torch.zeros(int(self.first[-1]) + 1, side, side // 8, dtype=torch.uint8, device=device)
        self.facts: list[Facts] = []
        self.left_out: list[str] = []  # a line for each damaged photo
        for i, photo in enumerate(decode_all(photos, side, workers)):
            h, w = photo.facts.hw
            self.rgb[i, :, :h, :w] = torch.tensor(photo.rgb, device=device).permute(2, 0, 1)
            start = self.first[i]
            # Objects without any pixel leave some of their photo's places unused.
            self.bits[start : start + len(photo.bits), :h, : photo.bits.shape[-1]] = torch.tensor(
                photo.bits, device=device
            )
            self.facts.append(photo.facts)
            self.left_out += [photo.left_out] if photo.left_out else []

    def masks(self, numbers: Tensor) -> Tensor:
        """Look masks up by number (B, M), -1 for none, on the device: (B, M, R, R) of 0 and 1, uint8."""
        bits = self.bits[numbers]  # (B, M, R, R/8)
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=bits.device)
        return (bits[..., None] >> shifts & 1).flatten(-2)

    def batch(self, plans: list[Plan], side: int, masks_per_photo: int, min_area: float) -> dict[str, Any]:
        """Make a batch by plans: `name`, `image` (B, 3, S, S) uint8 and `masks` (B, M, S, S) bool, on the device.

        The names are the plans': a photo that stands in for one without a usable mask is another of them, and which one
        only the device knows. Nothing here waits for it.
        """
        hw = [self.facts[p.photo].hw for p in plans]
        numbers = warp.to_numbers(plans, hw, self.first, masks_per_photo, self.rgb.device)
        photos, others = self.rgb[numbers.photo], self.rgb[numbers.other]
        own, cut = self.masks(numbers.own_masks), self.masks(numbers.cut_mask)
        image, masks = warp.carry_out(numbers, photos, own, others, cut, side)
        shown, masks = warp.choose(numbers, masks, min_area, masks_per_photo)
        return {"name": [self.names[p.photo] for p in plans], "image": image[shown], "masks": masks}


def decode_all(photos: list[PhotoRef], side: int, workers: int) -> Iterator[Decoded]:
    """Decode all photos in several processes and yield them in order."""
    decode = partial(decode_one, side=side)
    if not workers:
        yield from map(decode, photos)
        return
    # Started afresh ("spawn"): a fork inherits the GPU's context, which it cannot use and which may make it hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(decode, photos, chunksize=16)


def decode_one(reference: PhotoRef, side: int) -> Decoded:
    """Decode a photo, shrunk to at most `side` pixels, with its masks as bits and the facts that plans need.

    A damaged one is a black pixel without masks, for which others of its batch stand in.
    """
    try:
        photo = read_photo(reference)
    except DataError as error:
        warn_left_out(error)
        nothing = Facts((1, 1), np.zeros(0), np.zeros((0, 4)))
        return Decoded(np.zeros((1, 1, 3), np.uint8), np.zeros((0, 1, 1), np.uint8), nothing, str(error))
    h, w = photo.rgb.shape[:2]
    scale = min(1.0, side / max(h, w))
    hw = (max(1, round(h * scale)), max(1, round(w * scale)))
    rgb, masks = photo.rgb, [photo.mask(i) for i in range(len(photo.run_lengths))]
    if scale < 1:
        rgb = np.asarray(cv2.resize(rgb, (hw[1], hw[0]), interpolation=cv2.INTER_AREA), np.uint8)
        masks = [shrink(mask, hw).astype(bool) for mask in masks]
    stack = np.stack(masks) if masks else np.zeros((0, *hw), bool)
    boxes_xyxy = np.array([boxes.from_mask(mask) for mask in stack], np.float64).reshape(-1, 4)
    return Decoded(rgb, np.packbits(stack, axis=-1), Facts(hw, stack.sum((1, 2)).astype(np.float64), boxes_xyxy))


class Plans(Dataset[tuple[int, Plan]]):
    """Data set whose items are augmentation plans and the side of their square.

    It is the very one that `MaskPhotos` draws first for that number, if no photo had to be reduced to
    `run.resident_side`: windows are drawn in the pixels of the photo as it lies on the device.
    """

    def __init__(self, photos: MaskPhotos, facts: list[Facts]) -> None:
        self.photos, self.facts = photos, facts

    def __getitem__(self, index: int | Ask) -> tuple[int, Plan]:
        photos = self.photos
        ask = index if isinstance(index, Ask) else Ask(index, photos.image_size)
        rng = np.random.default_rng([photos.seed, ask.number])
        crops = photos.object_crops(ask)
        return ask.side, draw_plan(photos.sources.draw, self.facts.__getitem__, photos.config, ask.side, crops, rng)


def open_resident(
    dataset: Dataset[Any], run: RunConfig, schedule: Schedule, start: int, fabric: Fabric
) -> tuple[Iterable[dict[str, Any]] | None, str]:
    """Load all photos into the device's memory, if the recipe and the memory allow.

    Returns:
        The batches from step `start` on, or None if photos have to be streamed; and a line for the log that says which
        and why.
    """
    device = fabric.device
    if run.resident is False or (run.resident == "auto" and device.type != "cuda"):
        return None, ""
    if not isinstance(dataset, MaskPhotos):
        return None, "photos are streamed: only photos with masks can lie on the device"
    side = -(-run.resident_side // 8) * 8
    counts = [count_objects(photo) for photo in dataset.photos]
    need, free = estimate_bytes(len(counts), sum(counts), side), free_bytes(device)
    sizes = f"{len(counts)} photos and {sum(counts)} masks at {side} px take {need / 1e9:.1f} GB"
    if need > SHARE * free:
        return (
            None,
            f"photos are streamed: {sizes}, {SHARE:.0%} of the device's free memory is {SHARE * free / 1e9:.1f}",
        )
    photos = ResidentPhotos(dataset.photos, counts, side, device, share_workers(run, fabric.world_size))
    return ResidentBatches(photos, dataset, run, schedule, start, fabric), f"photos lie on {device}: {sizes}"


def count_objects(photo: PhotoRef) -> int:
    """Count the objects of a photo without crowd regions; some may turn out to have no pixel."""
    return sum(not one.is_crowd for one in photo.annotation().objects)


def estimate_bytes(photos: int, masks: int, side: int) -> int:
    """Estimate the bytes that photos and masks will take on the device."""
    return photos * 3 * side**2 + masks * side**2 // 8


def free_bytes(device: torch.device) -> float:
    """Free bytes of a device's memory; unlimited for a CPU."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else float("inf")


class ResidentBatches:
    """Loader of batches from the device's memory; worker processes draw the plans ahead."""

    def __init__(
        self,
        photos: ResidentPhotos,
        dataset: MaskPhotos,
        run: RunConfig,
        schedule: Schedule,
        start: int,
        fabric: Fabric,
    ) -> None:
        self.photos, self.config = photos, dataset.config
        workers = min(2, share_workers(run, fabric.world_size))  # drawing plans is cheap
        self.loader: DataLoader[Any] = DataLoader(
            Plans(dataset, photos.facts),
            batch_sampler=FromStep(schedule, start, run.batch_size, fabric.global_rank, fabric.world_size),
            num_workers=workers,
            prefetch_factor=2 if workers else None,
            collate_fn=list,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        news = {"left_out": self.photos.left_out}  # in the first batch, since all photos were decoded before it
        for asked in self.loader:
            sides, plans = zip(*asked, strict=True)
            batch = self.photos.batch(list(plans), sides[0], self.config.masks_per_photo, self.config.min_area)
            yield {**batch, **news}
            news = {}
