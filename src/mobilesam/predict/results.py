"""Results of a prompt: `Prediction` with its masks and scores, and `Mask`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilesam import boxes, masks
from mobilesam.equality import same_fields
from mobilesam.errors import ImageError
from mobilesam.files import save_json, save_picture
from mobilesam.image import PhotoLike, Rgb, open_photo
from mobilesam.outputs import Outputs
from mobilesam.predict.closeup import Closeup
from mobilesam.predict.enclosure import Enclosure

# K masks, H W photo, L = 4g side of the logits


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """One mask of a photo, with its score and conversions to common formats.

    Masks of one type are equal if their pixels and scores are equal; the photo is not compared. Masks cannot be hashed,
    because their arrays are writable.
    """

    pixels: NDArray[np.bool_] | masks.Rle = field(compare=False)
    """The stored mask: an array (H, W), or COCO's RLE, which takes little memory."""
    score: float
    """IoU of the mask as predicted by the model, about 0-1."""
    photo: Rgb | None = field(default=None, compare=False)
    """The photo (H, W, 3), or None if it is not available."""

    @property
    def array(self) -> NDArray[np.bool_]:
        """(H, W), True on the object; if stored as RLE, decoded at each access to save memory."""
        if isinstance(self.pixels, np.ndarray):
            return self.pixels
        return masks.from_rle(self.pixels, self.original_hw)  # as large as the photo that was opened

    @property
    def original_hw(self) -> tuple[int, int]:
        """(height, width) of the photo."""
        height, width = self.pixels.shape if isinstance(self.pixels, np.ndarray) else self.pixels["size"]
        return height, width

    @cached_property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Tight box in pixels, right and bottom exclusive; all 0 for an empty mask."""
        if isinstance(self.pixels, np.ndarray):
            return boxes.from_mask(self.pixels)
        return boxes.from_rle(self.pixels)

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels)) if isinstance(self.pixels, np.ndarray) else masks.area(self.pixels)

    def rle(self) -> masks.Rle:
        """COCO's compressed run-length encoding.

        Examples:
            >>> mask.rle()["size"]
            [400, 600]
        """
        made = masks.to_rle(self.pixels) if isinstance(self.pixels, np.ndarray) else self.pixels
        return {"size": [*made["size"]], "counts": made["counts"]}

    def polygons(self) -> list[masks.Polygon]:
        """Polygons of the connected components, with their holes.

        Examples:
            >>> largest = max(mask.polygons(), key=lambda polygon: len(polygon.outer))
            >>> largest.outer.shape[1]  # (x, y)
            2
        """
        return masks.to_polygons(self.array)

    def cutout(self, photo: PhotoLike | None = None) -> Image.Image:
        """The object on a transparent background, cropped to its box, as an RGBA image.

        Args:
            photo: needed only if the embedding was loaded from a file and so has no photo.

        Raises:
            ImageError: there is no photo, it has another size than the mask, or the mask is empty.

        Examples:
            >>> picture = mask.cutout()
            >>> picture.mode, picture.size == (mask.box_xyxy[2] - mask.box_xyxy[0], mask.box_xyxy[3] - mask.box_xyxy[1])
            ('RGBA', True)
        """
        rgb = self.photo if photo is None else open_photo(photo)
        if rgb is None:
            raise ImageError("this mask keeps no photo to cut from; give the photo: mask.cutout(photo)")
        if rgb.shape[:2] != self.original_hw:
            raise ImageError(f"the photo is {rgb.shape[1]}x{rgb.shape[0]}, the mask {self.original_hw[::-1]}")
        x0, y0, x1, y1 = self.box_xyxy
        if x1 == x0:
            raise ImageError("the mask is empty; there is nothing to cut out")
        alpha = self.array.astype(np.uint8)[..., None] * 255
        return Image.fromarray(np.concatenate([rgb, alpha], axis=2)[y0:y1, x0:x1])

    def for_inpainting(self, *, grow: float = 8, feather: float = 0) -> NDArray[np.uint8]:
        """A picture (H, W) that tells an inpainting program what to paint: 255 paint, 0 keep, between: blend.

        Objects are grown because what is left of their edge and shadow would be continued into the hole. Programs that
        know only yes and no (OpenCV: any value above 0; diffusers: from 128 on) take it too; the feather is for those
        that blend.

        Args:
            grow: pixels that are painted around the object too, along round corners.
            feather: pixels around that over which the values fall from 255 to 0, in a straight line.

        Raises:
            SettingsError: `grow` or `feather` is negative or no number.
        """
        from mobilesam.interchange.inpainting import inpainting_mask

        return inpainting_mask(self.array, grow, feather)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able dict: COCO's `segmentation`, `bbox` (xywh), `area`, and the `score`."""
        return {
            "segmentation": self.rle(),
            "bbox": list(boxes.xyxy_to_xywh(self.box_xyxy)),
            "area": self.area,
            "score": self.score,
        }

    def to_coco(self, *, id: int = 1, image_id: int = 1, category_id: int = 1) -> dict[str, Any]:
        """One annotation of a COCO file: `to_dict` with the ids that COCO requires.

        Examples:
            >>> annotation = mask.to_coco(id=7, image_id=3)
            >>> annotation["id"], annotation["image_id"], annotation["area"] == mask.area
            (7, 3, True)
        """
        return {"id": id, "image_id": image_id, "category_id": category_id, "iscrowd": 0, **self.to_dict()}

    def to_labelme(self, image_path: str, *, label: str = "object") -> dict[str, Any]:
        """A LabelMe file with this mask; see `mobilesam.to_labelme`."""
        from mobilesam.interchange.labelme import to_labelme

        return to_labelme([self], image_path, labels=label)

    def to_svg_path(self) -> str:
        """The `d` attribute of an SVG path along the mask's pixel edges; even-odd filling keeps holes.

        Empty for an empty mask. One unit is one pixel of the photo, (0, 0) the upper left corner of its first pixel.
        """
        from mobilesam.interchange.svg import svg_path

        return svg_path(self.array)

    def to_supervision(self) -> Any:
        """`supervision.Detections` with this mask; see `mobilesam.to_supervision`.

        Raises:
            MissingExtraError: the library `supervision` is not installed.
        """
        from mobilesam.interchange.supervision import to_supervision

        return to_supervision([self])

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the mask as an image, 255 on the object and 0 elsewhere, or as JSON if the path ends in .json.

        Args:
            path: the file; one that an earlier call wrote is replaced.
            overwrite: replace a file that this package did not write too.

        Raises:
            ImageError: the picture format is unknown.
            OutputError: another's file is there.
            OSError: the file cannot be written.

        Examples:
            >>> mask.save("mask.png")
            >>> mask.save("mask.json")  # the run lengths
        """
        path, outputs = Path(path), Outputs(overwrite=overwrite)
        if path.suffix == ".json":
            save_json(self.to_dict(), path, outputs)
            return
        try:
            save_picture(self.array, path, outputs=outputs)
        except ImageError as error:
            raise ImageError(f"cannot save a mask as '{path.suffix}'; use .png or .json") from error

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        # Cheap comparisons first: pixels are compared only if size, area and score are equal.
        alike = (self.original_hw, self.area) == (other.original_hw, other.area) and same_fields(self, other)
        return alike and np.array_equal(self.array, other.array)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        height, width = self.original_hw
        return f"{type(self).__name__}({width}x{height}, score={self.score:.3f}, area={self.area}, box={self.box_xyxy})"


@dataclass(frozen=True, eq=False)
class Prediction:
    """The masks and scores for one prompt: three for an ambiguous prompt, else one.

    Masks and scores are in the decoder's order, which is none by size: `sorted(found, key=lambda mask: mask.area)` puts
    the smallest first.

    Predictions are equal if their logits, scores, sizes and zoomed masks are equal; the photo is not compared. They
    cannot be hashed, because their arrays are writable.
    """

    low_res: NDArray[np.float32]
    """(K, L, L) logits of the padded square input, before zoom; can be passed as `prior`."""
    scores: NDArray[np.float32]
    """(K,) predicted IoU."""
    image_size: int
    """Side in pixels of the square input that was encoded."""
    input_hw: tuple[int, int]
    """(height, width) of the resized photo in that square."""
    original_hw: tuple[int, int]
    """(height, width) of the photo and of the masks."""
    photo: Rgb | None = field(default=None, repr=False, compare=False)
    """The photo (H, W, 3), or None if it is not available."""
    closeups: tuple[Closeup | None, ...] = field(default=(), repr=False)
    """K entries, the zoomed mask or None; empty if no mask was zoomed."""
    enclosure: Enclosure | None = field(default=None, repr=False)
    """The prompt's box if logits outside of it are lowered, which `low_res` does not show."""

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """(K, H, W) at the photo's size."""
        return np.stack([self._mask(i) for i in range(len(self))])

    def _mask(self, index: int) -> NDArray[np.bool_]:
        """One mask (H, W)."""
        # A zoomed object that does not extend beyond its region needs no logits of the whole photo.
        closeup = self.closeups[index] if self.closeups else None
        if closeup is None or closeup.goes_on:
            return masks.threshold(self.logits(index))
        return closeup.mask(self.original_hw, self.enclosure)

    def logits(self, index: int, hw: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Logits (H, W) of one mask at the photo's size, or at the size `hw` if given."""
        closeup = self.closeups[index] if self.closeups else None
        size = hw if hw is not None and closeup is None else self.original_hw
        whole = masks.upscale(self.low_res[index], self.image_size, self.input_hw, size)
        if closeup is not None:
            whole = closeup.paste(whole)
        if self.enclosure is not None:
            self.enclosure.lower(whole, self.original_hw)
        if hw is None or hw == size:
            return whole
        return np.asarray(cv2.resize(whole, hw[::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    @property
    def best_index(self) -> int:
        """Index of the mask with the highest score."""
        return int(self.scores.argmax())

    @cached_property
    def best(self) -> Mask:
        """The mask with the highest score; the other masks are not computed for it."""
        return self[self.best_index]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int) -> Mask:
        is_made = "masks" in self.__dict__  # a cached property's value lies there
        array = self.masks[index] if is_made else self._mask(index)
        return Mask(array, float(self.scores[index]), self.photo)

    def __iter__(self) -> Iterator[Mask]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other) if isinstance(other, Prediction) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
