"""Masks as a COCO annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mobilesam.interchange.photo_masks import per_mask, photo_size

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask


def to_coco(
    masks: Sequence[Mask],
    file_name: str,
    *,
    original_hw: tuple[int, int] | None = None,
    categories: Sequence[str] | str = "object",
    image_id: int = 1,
    first_id: int = 1,
) -> dict[str, Any]:
    """Make the contents of a COCO annotation file for the masks of one photo.

    Args:
        masks: of the photo.
        file_name: of the photo, as the file shall name it.
        original_hw: (height, width) of the photo; needed only where there is no mask.
        categories: the name of each mask's category, or one for all.
        image_id: of the photo.
        first_id: of the first mask; the others follow.

    Returns:
        {"images", "annotations", "categories"}, JSON-able; `bbox` is COCO's, "segmentation" run lengths.

    Raises:
        SettingsError: the size of the photo is unknown, or the numbers of masks and of categories differ.

    Examples:
        >>> file = mobilesam.to_coco([mask], "coffee.png", categories="cup")
        >>> file["images"][0]["file_name"], file["categories"]
        ('coffee.png', [{'id': 1, 'name': 'cup'}])
    """
    height, width = photo_size(masks, original_hw)
    names = per_mask(categories, len(masks), "categories")
    ids = {name: i for i, name in enumerate(dict.fromkeys(names or per_mask(categories, 1, "categories")), 1)}
    return {
        "images": [{"id": image_id, "file_name": file_name, "width": width, "height": height}],
        "annotations": [
            mask.to_coco(id=first_id + i, image_id=image_id, category_id=ids[name])
            for i, (mask, name) in enumerate(zip(masks, names, strict=True))
        ],
        "categories": [{"id": i, "name": name} for name, i in ids.items()],
    }
