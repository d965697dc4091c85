"""Conversion of masks to the formats of other tools: COCO, LabelMe, SVG and supervision.

CVAT and Label Studio have modules of their own (`cvat`, `label_studio`), since their files hold several photos.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mobilesam.draw import COLOURS
from mobilesam.errors import MissingExtraError, SettingsError
from mobilesam.outlines import join, trace
from mobilesam.text import for_xml

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask

# N masks, H W photo

LABELME_VERSION = "5.5.0"  # whose files look like this


@dataclass(frozen=True)
class PhotoMasks:
    """One photo and its masks, for files that hold several photos (`to_cvat`, `to_label_studio`)."""

    file_name: str
    """Of the photo, as the tool names it."""
    masks: Sequence[Mask]
    """All of the photo's size."""
    original_hw: tuple[int, int] | None = None
    """(height, width) of the photo; needed only where there is no mask."""
    labels: Sequence[str] | str = "object"
    """A label for each mask, or one for all."""


JOINT_FILES = {"cvat": "cvat.xml", "label-studio": "label_studio.json"}
"""Format of an annotation tool → the file that holds all photos."""


def joint_text(form: str, photos: Sequence[PhotoMasks]) -> str:
    """The contents of a file of `JOINT_FILES` for these photos, with the settings of `to_cvat` or `to_label_studio`."""
    from mobilesam.cvat import to_cvat
    from mobilesam.label_studio import to_label_studio

    if form == "cvat":
        return to_cvat(photos)
    return json.dumps(to_label_studio(photos)) + "\n"


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


def to_svg(masks: Sequence[Mask], *, original_hw: tuple[int, int] | None = None, image_path: str | None = None) -> str:
    """Draw the masks of one photo as an SVG document: a path per mask, larger first, so that smaller ones lie on top.

    Args:
        masks: of the photo.
        original_hw: (height, width) of the photo; needed only where there is no mask.
        image_path: the photo, to be shown under the masks.

    Raises:
        SettingsError: the size of the photo is unknown.

    Examples:
        >>> mobilesam.to_svg([mask]).count("<path")
        1
    """
    height, width = photo_size(masks, original_hw)
    size = f'width="{width}" height="{height}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>']
    if image_path is not None:
        from xml.sax.saxutils import quoteattr  # loads urllib and http, which a cold start need not pay for

        lines.append(f"<image href={quoteattr(for_xml(image_path))} {size}/>")
    for i in sorted(range(len(masks)), key=lambda i: -masks[i].area):
        colour = "#{:02x}{:02x}{:02x}".format(*COLOURS[i % len(COLOURS)])
        style = f'fill="{colour}" fill-opacity="0.5" fill-rule="evenodd"'
        lines.append(f'<path id="mask{i + 1}" {style} d="{masks[i].to_svg_path()}"/>')
    return "\n".join([*lines, "</svg>", ""])


def svg_path(mask: NDArray[np.bool_]) -> str:
    """The `d` attribute of an SVG path along the pixel edges of a mask (H, W), for the even-odd fill rule."""
    rings = [ring for piece in trace(mask) for ring in (piece.outer, *piece.holes)]
    path = []
    for ring in rings:
        # Every edge is horizontal or vertical; Z closes the path.
        steps = [f"H{x}" if y == before[1] else f"V{y}" for before, (x, y) in pairwise(ring.tolist())]
        path.append(f"M{ring[0, 0]} {ring[0, 1]}{''.join(steps)}Z")
    return "".join(path)


def to_supervision(masks: Sequence[Mask]) -> Any:
    """Convert the masks of one photo to `supervision.Detections`: boxes, masks and scores, in their order.

    There is no class: colour by index, as in `supervision.MaskAnnotator(color_lookup=supervision.ColorLookup.INDEX)`.

    Raises:
        MissingExtraError: the library `supervision` is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError("supervision", "to_supervision", command="pip install supervision") from error
    if not masks:
        return supervision.Detections.empty()
    return supervision.Detections(
        xyxy=np.array([mask.box_xyxy for mask in masks], np.float32),  # (N, 4)
        mask=np.stack([mask.array for mask in masks]),  # (N, H, W)
        confidence=np.array([mask.score for mask in masks], np.float32),  # (N,)
    )


def photo_size(masks: Sequence[Mask], original_hw: tuple[int, int] | None) -> tuple[int, int]:
    """Size (height, width) of the photo, as given or else from the masks.

    Raises:
        SettingsError: it is unknown, or masks are of several sizes.
    """
    sizes = {mask.original_hw for mask in masks} | ({original_hw} if original_hw is not None else set())
    if not sizes:
        raise SettingsError("without masks the size of the photo is unknown: give original_hw=(height, width)")
    if len(sizes) > 1:
        raise SettingsError(f"masks and photo must be of one size (height, width); found {sorted(sizes)}")
    return sizes.pop()


def per_mask(names: Sequence[str] | str, count: int, argument: str) -> Sequence[str]:
    """Return one name per mask: a single name is repeated for all masks.

    Raises:
        SettingsError: there are more or fewer names than masks.
    """
    if isinstance(names, str):
        return [names] * count
    if len(names) != count:
        raise SettingsError(f"{argument} needs a name for each of the {count} masks, has {len(names)}")
    return names
