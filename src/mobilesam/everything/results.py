"""The mask type of automatic mask generation, and its conversion to and from SA-1B records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mobilesam import boxes
from mobilesam.errors import DataError
from mobilesam.everything.grid import Box
from mobilesam.predict.results import Mask
from mobilesam.rle import check_rle


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FoundMask(Mask):
    """A mask found by automatic mask generation: a `Mask` with its stability score, point prompt and crop.

    It is stored as RLE, so that a thousand masks of a large photo fit in memory.
    """

    stability_score: float
    """IoU of the masks at thresholds slightly above and below the usual one, 0-1."""
    point_xy: tuple[float, float]
    """(x, y) of the point prompt in pixels of the photo; for a box prompt, the centre of the box."""
    crop_box_xyxy: Box
    """The crop in which it was found, right and bottom exclusive; the whole photo unless crops were searched."""

    @property
    def predicted_iou(self) -> float:
        """The `score` under SAM's name for it."""
        return self.score

    def to_dict(self) -> dict[str, Any]:
        """JSON-able dict: as `Mask.to_dict`, with stability score, point and crop."""
        return {
            **super().to_dict(),
            "stability_score": self.stability_score,
            "point_xy": list(self.point_xy),
            "crop_box_xyxy": list(self.crop_box_xyxy),
        }

    def to_sa1b(self) -> dict[str, Any]:
        """JSON-able dict: the mask as a record of SA-1B, the format of SAM's automatic mask generator.

        Its `bbox` is SAM's, not COCO's: from the first to the last pixel of the mask, so one pixel less wide and high.

        Examples:
            >>> settings = mobilesam.EverythingSettings(points_per_side=2)
            >>> found = mobilesam.segment_everything(sam, image, settings=settings)[0]
            >>> mobilesam.FoundMask.from_sa1b(found.to_sa1b()) == found
            True
        """
        return {
            **sa1b_mask(self),
            "point_coords": [list(self.point_xy)],
            "stability_score": self.stability_score,
            "crop_box": list(boxes.xyxy_to_xywh(self.crop_box_xyxy)),
        }

    @classmethod
    def from_sa1b(cls, record: dict[str, Any], hw: tuple[int, int] | None = None) -> FoundMask:
        """Inverse of `to_sa1b`; the photo is not in the record.

        Args:
            record: the record.
            hw: size (height, width) of the photo, which the mask must have; where None, see `masks.from_rle`.

        Raises:
            DataError: the record is not in this format, or its run lengths are malformed.
        """
        try:
            segmentation, score = record["segmentation"], check_number(record["predicted_iou"])
            x, y, width, height = (int(check_number(value)) for value in record["crop_box"])
            point_x, point_y = map(check_number, record["point_coords"][0])
            stability = check_number(record["stability_score"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"not a mask's record as `to_sa1b` writes it ({type(error).__name__}: {error})") from error
        return cls(
            check_rle(segmentation, hw),
            score,
            stability_score=stability,
            point_xy=(point_x, point_y),
            crop_box_xyxy=(x, y, x + width, y + height),
        )


def check_number(value: Any) -> float:
    """Return a number of a record.

    Raises:
        ValueError: it is none, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is not a finite number")
    return value


def sa1b_mask(mask: Mask) -> dict[str, Any]:
    """The entries of an SA-1B record that any mask has; its `bbox` is one pixel less wide and high than COCO's."""
    x0, y0, x1, y1 = boxes.to_inclusive(mask.box_xyxy)
    return {
        "segmentation": mask.rle(),
        "area": mask.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "predicted_iou": mask.score,
    }
