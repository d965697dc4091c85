"""Automatic mask generation: prompt with a grid of points, filter masks by score and stability, apply NMS.

The algorithm and its results are SAM's (arXiv 2304.02643, appendix B). To save time and memory, a mask is scaled up to
the size of the photo only after it passed all filters and NMS, one mask at a time, and is then stored as RLE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

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

MAX_WAITING = 2**25  # bytes of logits that candidates may hold before they are converted to RLE

Progress = Callable[[int, int], None]
"""Called with the number of prompts done so far and in total."""
Preview = Callable[[list[FoundMask]], None]
"""Called with the masks of a batch that overlap no mask shown before; the result may lack some of them."""


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
    preview: Preview | None = None,
) -> list[FoundMask]:
    """Find all masks of a photo.

    Args:
        predictor: the model.
        photo: the photo, or its embedding, which saves a run of the encoder but allows no crops.
        settings: settings of the search; None for the defaults.
        points: (N, 2) (x, y) in pixels of the photo, used instead of the grid.
        boxes: (N, 4) xyxy of any detector, used instead of the grid, one mask each.
        region: (H, W) boolean mask of where to search: points elsewhere are skipped.
        point_grids: for the photo and each layer of crops, points (N, 2) in the unit square, used instead of the grid.
        progress: called after each batch.
        preview: called after each batch that found something new, to show masks before the search has ended.

    Returns:
        The masks, sorted by predicted IoU, highest first.

    Raises:
        ImageError: the photo cannot be opened.
        PromptError: points or boxes do not lie in the photo, or are of another shape.
        SettingsError: crops are requested for an embedding, or the region has another size or other values.

    Examples:
        >>> settings = mobilesam.EverythingSettings(points_per_side=6)
        >>> masks = mobilesam.segment_everything(sam, image, settings=settings)
        >>> len(masks) > 2, masks[0].score >= masks[-1].score
        (True, True)
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
    grids = None if point_grids is None else check_grids(point_grids, settings.crop_n_layers + 1)
    search = Search(predictor, settings, hw, rgb, where, grids, progress, preview)
    if points is not None or boxes is not None:
        image = whole or predictor.embed(rgb)  # type: ignore[arg-type]
        found = search.ask_given(image, points, boxes)
    else:
        found = search.ask_crops(whole)
    if settings.min_mask_region_area:
        found = clean(found, settings)
    return sorted(found, key=lambda mask: -mask.score)


def check_grids(grids: Sequence[ArrayLike], count: int) -> list[NDArray[np.float64]]:
    """One grid of points (N, 2) for each layer of crops.

    Raises:
        SettingsError: there are more or fewer grids.
        PromptError: a grid is no list of points.
    """
    if not isinstance(grids, (list, tuple, np.ndarray)) or len(grids) != count:
        has = f"has {len(grids)}" if isinstance(grids, (list, tuple, np.ndarray)) else f"is {grids!r:.40}"
        raise SettingsError(f"point_grids needs {count} grids, {has}")
    return [check_rows(grid, 2, "point_grids", "(x, y)") for grid in grids]


def check_region(region: ArrayLike, hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The region to search as a boolean array (H, W).

    Raises:
        SettingsError: it has another size than the photo, or other values than true and false.
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
    """State of the search of one photo."""

    predictor: Predictor
    settings: EverythingSettings
    hw: tuple[int, int]
    rgb: Rgb | None
    region: NDArray[np.bool_] | None
    point_grids: Sequence[NDArray[np.generic]] | None
    progress: Progress | None
    preview: Preview | None = None
    shown: list[Box] = field(default_factory=list)
    """Boxes of the masks that the preview was given."""

    @property
    def min_score(self) -> float:
        """Score that a mask must exceed; as in the reference, a threshold of 0 or less keeps all masks."""
        threshold = self.settings.pred_iou_thresh
        return threshold if threshold is not None and threshold > 0 else -np.inf

    def ask_crops(self, whole: ImageEmbedding | None) -> list[FoundMask]:
        """Search the photo and its crops, each with its grid, then apply NMS between crops."""
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
        """Grid points of one crop layer, in the unit square."""
        if self.point_grids is not None:
            return np.asarray(self.point_grids[layer], float)
        return point_grid(self.per_side(layer))

    def per_side(self, layer: int, coarser: int = 1) -> int:
        """Number of grid points along a side of a crop of one layer."""
        full = max(1, int(self.settings.points_per_side / self.settings.crop_n_points_downscale_factor**layer))
        return max(1, full // coarser)

    def ask_grid(self, image: ImageEmbedding, crop: Box, layer: int) -> list[FoundMask]:
        """Search one crop with its full grid, or with a coarse grid and then selected points of the full one."""
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
        """The points of a crop that lie in the region to search."""
        if self.region is None:
            return points
        x, y = np.minimum((points + crop[:2]).astype(int), (self.hw[1] - 1, self.hw[0] - 1)).T
        return points[self.region[y, x]]

    def ask_points(self, image: ImageEmbedding, crop: Box, points: Points) -> list[Candidate]:
        """Candidate masks for single points that pass the filters."""
        found: list[Candidate] = []
        for batch in self.batches(points):
            new: list[Candidate] = []
            for i, prediction in image.predict_points(batch, min_score=self.min_score):
                x, y = (batch[i] + crop[:2]).tolist()
                new += judge(prediction, crop, (x, y), self.hw, self.min_score, self.settings)
            self.show(new)
            found = self.bounded(found + new)
        return found

    def show(self, new: list[Candidate]) -> None:
        """Give the preview those of a batch's masks that overlap none of those it has."""
        if self.preview is None or not new:
            return
        boxes = [*self.shown, *(mask.box_xyxy for mask in new)]
        scores = [np.inf] * len(self.shown) + [mask.score for mask in new]
        kept = suppress(boxes, scores, self.settings.box_nms_thresh)
        fresh = [new[i - len(self.shown)] for i in kept if i >= len(self.shown)]
        self.shown += [mask.box_xyxy for mask in fresh]
        if fresh:
            self.preview([mask.found(self.hw, self.rgb) for mask in fresh])

    def ask_given(self, image: ImageEmbedding, points: ArrayLike | None, boxes: ArrayLike | None) -> list[FoundMask]:
        """Masks for the caller's own points and boxes."""
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
        """Split prompts into batches; reports progress after each."""
        size = self.settings.points_per_batch
        assert size is not None
        for start in range(0, len(prompts), size):
            yield prompts[start : start + size]
            if self.progress:
                self.progress(min(start + size, len(prompts)), len(prompts))

    def bounded(self, found: list[Candidate]) -> list[Candidate]:
        """The same candidates, converted to RLE if their logits take too much memory."""
        waiting = sum(mask.nbytes for mask in found)
        return found if waiting < MAX_WAITING else [mask.small(self.hw) for mask in found]

    def best(self, found: list[Candidate]) -> list[Candidate]:
        """Apply NMS: of candidates whose boxes overlap, keep the one with the highest score."""
        kept = suppress([mask.box_xyxy for mask in found], [mask.score for mask in found], self.settings.box_nms_thresh)
        return [found[i] for i in kept]

    def made(self, found: list[Candidate]) -> list[FoundMask]:
        """The candidates that NMS keeps, as public masks at the photo's size."""
        return [mask.found(self.hw, self.rgb) for mask in self.best(found)]


def thin(found: Sequence[FoundMask], scores: Sequence[float], threshold: float) -> list[FoundMask]:
    """Apply NMS to masks: of those whose boxes overlap, keep the highest-scored; highest score first."""
    return [found[i] for i in suppress([mask.box_xyxy for mask in found], scores, threshold)]


def clean(found: Sequence[FoundMask], settings: EverythingSettings) -> list[FoundMask]:
    """Fill small holes and remove small islands, then apply NMS that prefers masks which needed no change."""
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
    """Area of an xyxy box in pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])
