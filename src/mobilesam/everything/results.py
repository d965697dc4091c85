"""The masks that a search of a whole photo finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mobilesam import boxes
from mobilesam.everything.grid import Box
from mobilesam.predict.results import Mask


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FoundMask(Mask):
    """One mask of a photo that was searched for all its masks: a `Mask`, and how it was found.

    It is kept as run lengths, so that a thousand of a large photo fit in memory.
    """

    stability_score: float
    """IoU of the masks cut a little above and below the threshold, 0-1."""
    point_xy: tuple[float, float]
    """(x, y) in pixels of the photo, where it was asked for; the middle of the box for a box prompt."""
    crop_box_xyxy: Box
    """The part of the photo it was found in, right and bottom exclusive; mostly the whole photo."""

    @property
    def predicted_iou(self) -> float:
        """The `score`, under the name that SAM gives it."""
        return self.score

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: as `Mask.to_dict`, and how the mask was found."""
        return {
            **super().to_dict(),
            "stability_score": self.stability_score,
            "point_xy": list(self.point_xy),
            "crop_box_xyxy": list(self.crop_box_xyxy),
        }

    def to_sa1b(self) -> dict[str, Any]:
        """JSON-able: the record of a mask in SA-1B's files, which is also that of SAM's generator.

        Its `bbox` is SAM's, not COCO's: from the first to the last pixel of the mask, so one pixel narrower and lower.
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
            KeyError: the record is not one of these.
        """
        x, y, width, height = record["crop_box"]
        return cls(
            record["segmentation"],
            record["predicted_iou"],
            stability_score=record["stability_score"],
            point_xy=tuple(record["point_coords"][0]),
            crop_box_xyxy=(x, y, x + width, y + height),
        )
