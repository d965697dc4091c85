"""Zoom: the region around a prompt is cropped, enlarged and encoded again, for more detailed masks of small objects.

A small object covers few cells of the photo's embedding. Its region, enlarged to the whole input, covers all of them,
so the second mask has detail that the first lacks. It is blended back at the photo's resolution (`closeup.py`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mobilesam import boxes, masks
from mobilesam.choices import Zoom as Zoom
from mobilesam.errors import PromptError
from mobilesam.image import Rgb, input_size, scale_points, to_square
from mobilesam.predict.backend import Backend, ModelInfo
from mobilesam.predict.closeup import Closeup
from mobilesam.predict.prompts import Prompt, alike
from mobilesam.predict.results import Prediction
from mobilesam.region import BoxXyxy, Region

# B regions, P points, h w region, S image size, L = 4g side of the logits

REGION_FACTOR = 1.5  # longer side of the region divided by that of the box: docs/results/second_look.md
SMALLEST_REGION = 32  # pixels; smaller regions are only blurred by enlarging them
DECIMALS = 3  # of coordinates in pixels; finer differences are errors of float32
NO_PHOTO = (
    "a second look needs the photo, and this embedding has none: embed the photo again, or give it along with the "
    "file: sam.load_embedding(path, photo=photo)"
)


@dataclass(frozen=True, eq=False)
class Look:
    """A region of a photo that is to be encoded again for a prompt."""

    photo: Rgb
    """(H, W, 3)"""
    prompt: Prompt
    """In pixels of the photo."""
    region: Region


def look_again(
    backend: Backend,
    photo: Rgb | None,
    prompts: list[Prompt],
    first: list[Prediction],
    zoom: Zoom,
    *,
    has_prior: bool = False,
) -> list[Prediction]:
    """Apply zoom to the predictions for which it is requested; the others are returned unchanged.

    Args:
        backend: encodes the regions.
        photo: (H, W, 3), or None if it is not available.
        prompts: prompts in pixels of the photo.
        first: their predictions without zoom.
        zoom: see `Zoom`.
        has_prior: whether the predictions refine earlier ones. The region is then asked with the points and the box
            alone, and its mask most similar to the refined one is taken.

    Raises:
        PromptError: zoom has another value, or is True without a photo or with nothing but a prior as prompt.
    """
    if not (zoom == "auto" or isinstance(zoom, bool)):
        raise PromptError(f'zoom must be "auto", True or False; found {zoom!r}')
    if zoom is False:
        return first
    if zoom is True and photo is None:
        raise PromptError(NO_PHOTO)
    if zoom is True and not all(prompt.asks_something for prompt in prompts):
        raise PromptError("a second look cannot be asked for by a prior alone; add the points or the box it came from")
    regions = choose_regions(prompts, first, zoom, backend.info)
    if photo is None:
        if regions:
            warnings.warn(f"the first look alone answers: {NO_PHOTO}", UserWarning, stacklevel=4)  # of `predict`
        return first
    answers = list(first)
    indices = list(regions)
    for group in alike([prompts[i] for i in indices], regions_per_call(backend.info)):
        chosen = [indices[k] for k in group]
        seen = look(backend, [Look(photo, prompts[i], regions[i]) for i in chosen])
        for i, found in zip(chosen, seen, strict=True):
            answers[i] = merge(first[i], prompts[i], regions[i], found, has_prior)
    return answers


def choose_regions(
    prompts: Sequence[Prompt], first: Sequence[Prediction], zoom: Zoom, info: ModelInfo
) -> dict[int, Region]:
    """The regions to zoom into, by the indices of those prompts that get a second look."""
    if zoom is False:
        return {}
    found = (choose_region(prompt, answer, zoom, info) for prompt, answer in zip(prompts, first, strict=True))
    return {i: region for i, region in enumerate(found) if region is not None}


def choose_region(prompt: Prompt, first: Prediction, zoom: Zoom, info: ModelInfo) -> Region | None:
    """The region to zoom into for a prompt, or None for no zoom.

    It surrounds the box, or the best mask before zoom if there are only points; "auto" requires it to be small.
    """
    if not prompt.asks_something:  # a prior alone, which belongs to the whole photo
        return None
    below = info.click_zoom_below if prompt.box_xyxy is None else info.zoom_below
    if zoom == "auto" and below <= 0:  # checked first, because the mask below takes time to compute
        return None
    h, w = first.original_hw
    if prompt.box_xyxy is None:
        x0, y0, x1, y1 = boxes.from_mask(first.best.array)
    else:  # SAM's API lets boxes reach out of the photo, or lie outside of it
        (x0, x1), (y0, y1) = np.clip(np.reshape(prompt.box_xyxy, (2, 2)).T, 0, ((w,), (h,)))
    longer = max(x1 - x0, y1 - y0)
    if min(x1 - x0, y1 - y0) <= 0 or (zoom == "auto" and longer >= below * max(h, w)):
        return None
    region = region_around((x0, y0, x1, y1), prompt.points_xy, (h, w))
    return None if region == (0, 0, w, h) else region  # the whole photo is already encoded


def region_around(box_xyxy: BoxXyxy, points_xy: NDArray[np.float32], photo_hw: tuple[int, int]) -> Region:
    """A box with an equal margin on all sides, clipped to the photo and extended to contain all points."""
    x0, y0, x1, y1 = box_xyxy
    margin = (REGION_FACTOR - 1) / 2 * max(x1 - x0, y1 - y0)
    left, right = span(x0 - margin, x1 + margin, points_xy[:, 0], photo_hw[1])
    top, bottom = span(y0 - margin, y1 + margin, points_xy[:, 1], photo_hw[0])
    return Region(left, top, right, bottom)


def span(start: float, end: float, points: NDArray[np.float32], length: int) -> tuple[int, int]:
    """Extent (start, end) of a region along one axis of the photo, in whole pixels."""
    wider = max(0.0, SMALLEST_REGION - (end - start)) / 2
    # 60 px may have become 60.000004 in float32; rounded, they do not reach into one pixel more.
    first = max(0, math.floor(round(float(start - wider), DECIMALS)))
    last = min(length, math.ceil(round(float(end + wider), DECIMALS)))
    # A coordinate names the pixel it lies in; one on the photo's far edge the last.
    pixels = np.clip(np.floor(np.round(points, DECIMALS)), 0, length - 1)
    return int(min([first, *pixels])), int(max([last, *(pixels + 1)]))


def regions_per_call(info: ModelInfo) -> int:
    """Number of regions per call of the encoder: together at most as many pixels as one 1024x1024 photo."""
    return max(1, 1024**2 // info.image_size**2)


def look(backend: Backend, looks: Sequence[Look]) -> list[Prediction]:
    """Encode B regions in one batch, and decode one prompt for each.

    Args:
        backend: of the model.
        looks: of one photo or of several; their prompts must have equal length.

    Returns:
        For each region a prediction with all four masks, in pixels of the region.
    """
    size = backend.info.image_size
    region_hws = [one.region.hw for one in looks]
    input_hws = [input_size(hw, size) for hw in region_hws]
    squares = np.concatenate([to_square(one.region.cut(one.photo), size) for one in looks])  # (B, 3, S, S)
    coords = np.stack(
        [
            scale_points(one.prompt.moved(one.region[:2]), region_hw, input_hw)
            for one, region_hw, input_hw in zip(looks, region_hws, input_hws, strict=True)
        ]
    )  # (B, P, 2)
    labels = np.stack([one.prompt.labels for one in looks])  # (B, P)
    no_mask = np.zeros((1, 1, backend.info.low_res, backend.info.low_res), np.float32)
    embeddings = backend.encode(squares)  # (B, C, g, g), one for each prompt
    low_res, scores = backend.decode(embeddings, coords, labels, no_mask, np.zeros(1, np.float32))
    return [
        Prediction(logits, score, size, input_hw, region_hw)
        for logits, score, input_hw, region_hw in zip(low_res, scores, input_hws, region_hws, strict=True)
    ]


def merge(first: Prediction, prompt: Prompt, region: Region, seen: Prediction, has_prior: bool = False) -> Prediction:
    """Replace masks of a prediction by zoomed ones.

    For a box, each mask and its score are replaced by those of the same decoder output. For clicks, only the best mask
    is replaced, by the most similar one; it keeps its score, so that it remains the best.
    """
    has_box = prompt.box_xyxy is not None

    def closeup(index: int) -> Closeup:
        return Closeup(region, seen.low_res[index], seen.image_size, seen.input_hw, goes_on=not has_box)

    if has_box and not has_prior:
        kept = slice(1, 4) if len(first) == 3 else slice(0, 1)
        closeups = tuple(closeup(i) for i in range(4)[kept])
        return replace(first, scores=seen.scores[kept], closeups=closeups)
    nearest = closeup(most_like(seen, region.cut(first.best.array)))
    return replace(first, closeups=tuple(nearest if i == first.best_index else None for i in range(len(first))))


def most_like(seen: Prediction, mask: NDArray[np.bool_]) -> int:
    """Index of the multimask output (1-3) that has the highest IoU with a mask (h, w) of the same region."""

    def likeness(index: int) -> float:
        # Where the region shows nothing, no output is nearer than another, and the first is taken.
        return masks.iou(masks.threshold(seen.logits(index)), mask, both_empty=0.0)

    return max((1, 2, 3), key=likeness)
