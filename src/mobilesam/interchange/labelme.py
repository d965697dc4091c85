"""Masks as a LabelMe file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mobilesam.interchange.outlines import join, trace
from mobilesam.interchange.photo_masks import per_mask, photo_size

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask

LABELME_VERSION = "5.5.0"  # whose files look like this


def to_labelme(
    masks: Sequence[Mask],
    image_path: str,
    *,
    original_hw: tuple[int, int] | None = None,
    labels: Sequence[str] | str = "object",
) -> dict[str, Any]:
    """Make the contents of a LabelMe file for the masks of one photo.

    There is a polygon for each piece of a mask, along the edges of its pixels; the pieces of one mask share a
    `group_id`. LabelMe's polygons have no holes, so a bridge without width leads to each hole and back.

    Args:
        masks: of the photo.
        image_path: of the photo, relative to where the file will lie.
        original_hw: (height, width) of the photo; needed only where there is no mask.
        labels: a label for each mask, or one for all.

    Raises:
        SettingsError: the size of the photo is unknown, or the numbers of masks and of labels differ.

    Examples:
        >>> file = mobilesam.to_labelme([mask], "coffee.png", labels=["cup"])
        >>> file["imageWidth"], file["imageHeight"]
        (600, 400)
    """
    height, width = photo_size(masks, original_hw)
    shapes = [
        {
            "label": label,
            "points": join([piece]).tolist(),
            "group_id": i,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
        }
        for i, (mask, label) in enumerate(zip(masks, per_mask(labels, len(masks), "labels"), strict=True), 1)
        for piece in trace(mask.array)
    ]
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
