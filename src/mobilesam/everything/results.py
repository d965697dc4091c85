"""The mask type of automatic mask generation, and its conversion to and from SA-1B records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mobilesam import boxes
from mobilesam.everything.grid import Box
from mobilesam.predict.results import Mask


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
        """
        x0, y0, x1, y1 = boxes.to_inclusive(self.box_xyxy)
        return {
            "segmentation": self.rle(),
            "area": self.area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": self.score,
            "point_coords": [list(self.point_xy)],
            "stability_score": self.stability_score,
            "crop_box": list(boxes.xyxy_to_xywh(self.crop_box_xyxy)),
        }

    @classmethod
    def from_sa1b(cls, record: dict[str, Any]) -> FoundMask:
        """Inverse of `to_sa1b`; the photo is not in the record.

        Raises:
            KeyError: the record is not in this format.
        """
        x, y, width, height = record["crop_box"]
        return cls(
            record["segmentation"],
            record["predicted_iou"],
            stability_score=record["stability_score"],
            point_xy=tuple(record["point_coords"][0]),
            crop_box_xyxy=(x, y, x + width, y + height),
        )
