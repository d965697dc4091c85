"""All masks of a photo: ask a grid of points, keep the sure and stable answers, drop what says the same twice.

SAM's automatic mask generation (arXiv 2304.02643, appendix B), with SAM's results. What differs is what is made: a
mask reaches the photo's size only if it is sure, stable and not said by a better one, alone, and becomes run lengths
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilesam import masks
from mobilesam.errors import SettingsError
from mobilesam.everything.candidates import Candidate, judge
from mobilesam.everything.coarse import is_covered, near_small
from mobilesam.everything.filters import remove_small_regions, suppress
from mobilesam.everything.grid import Box, Points, crop_boxes, point_grid
from mobilesam.everything.results import FoundMask
from mobilesam.everything.settings import EverythingSettings
from mobilesam.image import PhotoLike, Rgb, open_photo
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.predict.predictor import Predictor
from mobilesam.predict.prompts import check_points, check_rows

# N points, H W photo, L side of the logits

MAX_WAITING = 2**25  # bytes of logits that wait for the last batch

Progress = Callable[[int, int], None]
"""Prompts asked so far, and in all."""


def segment_everything(
    predictor: Predictor,
    photo: PhotoLike | ImageEmbedding,
    *,
    settings: EverythingSettings | None = None,
    points: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    region: ArrayLike | None = None,
    point_grids: Sequence[NDArray[np.generic]] | None = None,
    progress: Progress | None = None,
) -> list[FoundMask]:
    """Find all masks of a photo.

    Args:
        predictor: the model.
        photo: or its embedding, which saves the encoder; then there are no crops.
        settings: how to search.
        points: (N, 2) (x, y) in pixels of the photo, asked in place of the grid.
        boxes: (N, 4) xyxy of any detector, asked in place of the grid, one mask each.
        region: (H, W) of yes and no, where to look: points elsewhere are not asked.
        point_grids: for the photo and each layer of crops, points (N, 2) in the unit square in place of the grid.
        progress: called after each batch.

    Returns:
        The masks, best first: by predicted IoU.

    Raises:
        ImageError: the photo cannot be opened.
        PromptError: points or boxes do not lie in the photo, or are of another shape.
        SettingsError: crops are asked of an embedding, or the region has another size or other values.
    """
    settings = (settings or EverythingSettings()).for_model(predictor.info)
    if isinstance(photo, ImageEmbedding):
        if settings.crop_n_layers:
            raise SettingsError("crops must be encoded anew: give the photo, or set crop_n_layers=0")
        rgb, whole, hw = photo.photo, photo, photo.original_hw
    else:
        rgb = open_photo(photo)
        whole, hw = None, (rgb.shape[0], rgb.shape[1])
    where = None if region is None else check_region(region, hw)
    if point_grids is not None and len(point_grids) != settings.crop_n_layers + 1:
        raise SettingsError(f"point_grids needs {settings.crop_n_layers + 1} grids, has {len(point_grids)}")
    grids = None if point_grids is None else [check_rows(grid, 2, "point_grids", "(x, y)") for grid in point_grids]
    search = Search(predictor, settings, hw, rgb, where, grids, progress)
    if points is not None or boxes is not None:
        image = whole or predictor.embed(rgb)  # type: ignore[arg-type]
        found = search.ask_given(image, points, boxes)
    else:
        found = search.ask_crops(whole)
    if settings.min_mask_region_area:
        found = clean(found, settings)
    return sorted(found, key=lambda mask: -mask.score)


def check_region(region: ArrayLike, hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Where to look, as (H, W) of the photo's size.

    Raises:
        SettingsError: it has another size, or holds other values than yes and no.
    """
    try:
        array = np.asarray(region)
    except ValueError:  # rows of several lengths
        raise SettingsError(f"region must be an array of the photo's size {hw}") from None
    if array.shape != hw:
        raise SettingsError(f"region must be the photo's size {hw}, not {array.shape}")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1, 255)).all():
        raise SettingsError(f"region must hold True and False, 0 and 1 or 0 and 255; found {array.dtype}")
    return array.astype(np.bool_)


@dataclass
class Search:
    """One photo being searched."""

    predictor: Predictor
    settings: EverythingSettings
    hw: tuple[int, int]
    rgb: Rgb | None
    region: NDArray[np.bool_] | None
    point_grids: Sequence[NDArray[np.generic]] | None
    progress: Progress | None

    @property
    def min_score(self) -> float:
        """Predicted IoU that a mask must exceed; as in the reference, a threshold of 0 or less drops none."""
        threshold = self.settings.pred_iou_thresh
        return threshold if threshold is not None and threshold > 0 else -np.inf

    def ask_crops(self, whole: ImageEmbedding | None) -> list[FoundMask]:
        """The photo and its crops, each with its grid; then what several crops found is thinned out."""
        crops = crop_boxes(self.hw, self.settings.crop_n_layers, self.settings.crop_overlap_ratio)
        found: list[FoundMask] = []
        for layer, crop in crops:
            x0, y0, x1, y1 = crop
            image = whole or self.predictor.embed(self.rgb[y0:y1, x0:x1])  # type: ignore[index]
            found += self.ask_grid(image, crop, layer)
        if len(crops) > 1:
            found = thin(found, [1 / area_of(mask.crop_box_xyxy) for mask in found], self.settings.crop_nms_thresh)
        return found

    def grid(self, layer: int) -> Points:
        """The points of one layer in the unit square."""
        if self.point_grids is not None:
            return np.asarray(self.point_grids[layer], float)
        return point_grid(self.per_side(layer))

    def per_side(self, layer: int, coarser: int = 1) -> int:
        """Points along a side of a crop of one layer."""
        full = max(1, int(self.settings.points_per_side / self.settings.crop_n_points_downscale_factor**layer))
        return max(1, full // coarser)

    def ask_grid(self, image: ImageEmbedding, crop: Box, layer: int) -> list[FoundMask]:
        """One crop: all points of its grid, or first a coarse one and then where that leaves something to find."""
        size = (crop[2] - crop[0], crop[3] - crop[1])
        points = self.wanted(self.grid(layer) * size, crop)
        found: list[Candidate] = []
        if self.settings.coarse_factor > 1 and self.point_grids is None:
            per_side = self.per_side(layer, self.settings.coarse_factor)
            found = self.ask_points(image, crop, self.wanted(point_grid(per_side) * size, crop))
            if self.settings.dense_where == "small":
                points = points[near_small(points / size, found, per_side, self.settings.small_share)]
            else:
                points = points[~is_covered(points + crop[:2], found, self.hw)]
        found += self.ask_points(image, crop, points)
        if self.settings.refine:
            best = self.best(found)
            inside = np.array([mask.innermost() for mask in best]).reshape(-1, 2)
            found = best + self.ask_points(image, crop, self.wanted(inside - crop[:2], crop))
        return self.made(found)

    def wanted(self, points: Points, crop: Box) -> Points:
        """The points of a crop that lie in the region."""
        if self.region is None:
            return points
        x, y = np.minimum((points + crop[:2]).astype(int), (self.hw[1] - 1, self.hw[0] - 1)).T
        return points[self.region[y, x]]

    def ask_points(self, image: ImageEmbedding, crop: Box, points: Points) -> list[Candidate]:
        """The answers to single points that are sure and stable."""
        found: list[Candidate] = []
        for batch in self.batches(points):
            for i, prediction in image.predict_points(batch, min_score=self.min_score):
                x, y = (batch[i] + crop[:2]).tolist()
                found += judge(prediction, crop, (x, y), self.hw, self.min_score, self.settings)
            found = self.bounded(found)
        return found

    def ask_given(self, image: ImageEmbedding, points: ArrayLike | None, boxes: ArrayLike | None) -> list[FoundMask]:
        """The answers to the caller's own points and boxes."""
        crop = (0, 0, self.hw[1], self.hw[0])
        found: list[Candidate] = []
        if points is not None:
            asked = check_rows(points, 2, "points", "(x, y)")
            check_points(asked, self.hw)
            found += self.ask_points(image, crop, self.wanted(asked, crop))
        if boxes is not None:
            for batch in self.batches(check_rows(boxes, 4, "boxes", "(x0, y0, x1, y1)")):
                predictions = image.predict_batch(boxes=batch, multimask=False, zoom=False)
                for box, prediction in zip(batch, predictions, strict=True):
                    middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
                    found += judge(prediction, crop, middle, self.hw, self.min_score, self.settings)
                found = self.bounded(found)
        return self.made(found)

    def batches(self, prompts: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Prompts in batches, reported as they are done."""
        size = self.settings.points_per_batch
        assert size is not None
        for start in range(0, len(prompts), size):
            yield prompts[start : start + size]
            if self.progress:
                self.progress(min(start + size, len(prompts)), len(prompts))

    def bounded(self, found: list[Candidate]) -> list[Candidate]:
        """The same, as run lengths once logits that wait take too much memory."""
        waiting = sum(mask.nbytes for mask in found)
        return found if waiting < MAX_WAITING else [mask.small(self.hw) for mask in found]

    def best(self, found: list[Candidate]) -> list[Candidate]:
        """Of masks that say the same, the surest."""
        kept = suppress([mask.box_xyxy for mask in found], [mask.score for mask in found], self.settings.box_nms_thresh)
        return [found[i] for i in kept]

    def made(self, found: list[Candidate]) -> list[FoundMask]:
        """The best, at the photo's size."""
        return [mask.found(self.hw, self.rgb) for mask in self.best(found)]


def thin(found: Sequence[FoundMask], scores: Sequence[float], threshold: float) -> list[FoundMask]:
    """Of masks whose boxes overlap too much, the better-scored; best first."""
    return [found[i] for i in suppress([mask.box_xyxy for mask in found], scores, threshold)]


def clean(found: Sequence[FoundMask], settings: EverythingSettings) -> list[FoundMask]:
    """Fill small holes, remove small islands; a mask that needed neither wins over one that did."""
    cleaned: list[FoundMask] = []
    untouched: list[float] = []
    for mask in found:
        array, had_holes = remove_small_regions(mask.array, settings.min_mask_region_area, holes=True)
        array, had_islands = remove_small_regions(array, settings.min_mask_region_area, holes=False)
        untouched.append(float(not (had_holes or had_islands)))
        if had_holes or had_islands:
            mask = replace(mask, pixels=masks.to_rle(array))
        cleaned.append(mask)
    return thin(cleaned, untouched, max(settings.box_nms_thresh, settings.crop_nms_thresh))


def area_of(box: Box) -> int:
    """Of xyxy corners."""
    return (box[2] - box[0]) * (box[3] - box[1])
