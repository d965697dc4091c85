"""Masks as a file of the annotation tool CVAT: "CVAT for images 1.1", an XML file for the photos of one task.

A mask is written as `<mask>`, whose run lengths keep every pixel, or as polygons, which are easier to edit there.

- `rle`: lengths of runs, row by row inside the box `left top width height`;
  the first run is background, perhaps 0 long.
- `points`: corners "x,y;x,y" in pixels of the photo, (0, 0) the upper left corner of its first pixel.

The format: https://docs.cvat.ai/docs/other/xml_format
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

from mobilesam.interchange.outlines import join, trace
from mobilesam.interchange.photo_masks import PhotoMasks, per_mask, photo_size
from mobilesam.masks import run_lengths
from mobilesam.outputs import MARK
from mobilesam.text import for_xml

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask

Shape = Literal["mask", "polygon"]


def to_cvat(photos: Iterable[PhotoMasks], *, shape: Shape = "mask") -> str:
    """Make the contents of an XML file for CVAT ("CVAT for images 1.1") with the masks of photos.

    In CVAT, create a task with these photos and labels, then choose "Upload annotations". CVAT finds each photo by its
    name. Characters that XML cannot hold are written out, such as "\\x02" in a name.

    Args:
        photos: with their masks.
        shape: "mask" keeps every pixel; "polygon" gives a polygon for each piece of a mask, those of one mask in a
            group. Polygons of CVAT have no holes, so a bridge without width leads to each hole and back.

    Raises:
        SettingsError: the size of a photo is unknown, or the numbers of masks and of labels differ.
    """
    photos = list(photos)
    names = dict.fromkeys(label for photo in photos for label in per_mask(photo.labels, len(photo.masks), "labels"))
    group = 0
    images: list[str] = []
    for i, photo in enumerate(photos):
        height, width = photo_size(photo.masks, photo.original_hw)
        images.append(
            f'  <image id="{i}" name={quoteattr(for_xml(photo.file_name))} width="{width}" height="{height}">'
        )
        for mask, label in zip(photo.masks, per_mask(photo.labels, len(photo.masks), "labels"), strict=True):
            group += 1
            images += [f"    {line}" for line in _shapes(mask, label, shape, group)]
        images.append("  </image>")
    return "\n".join([*_head(list(names), len(photos)), *images, "</annotations>", ""])


def _head(names: Sequence[str], count: int) -> list[str]:
    labels = [f"<label><name>{_text(name)}</name><attributes></attributes></label>" for name in names]
    return [
        '<?xml version="1.0" encoding="utf-8"?>',
        f"<!-- {MARK} -->",
        "<annotations>",
        "  <version>1.1</version>",
        "  <meta>",
        f"    <task><name>mobilesam</name><size>{count}</size><mode>annotation</mode><overlap>0</overlap>",
        f"      <labels>{''.join(labels)}</labels>",
        "    </task>",
        "  </meta>",
    ]


def _text(text: str) -> str:
    """A text between tags; a parser would read a bare carriage return as the end of a line."""
    return escape(for_xml(text), {"\r": "&#13;"})


def _shapes(mask: Mask, label: str, shape: Shape, group: int) -> list[str]:
    """The elements of one mask; none for an empty one."""
    common = f'label={quoteattr(for_xml(label))} source="auto" occluded="0" z_order="0"'
    if shape == "polygon":
        outlines = [join([piece]) for piece in trace(mask.array)]
        texts = [";".join(f"{x:.2f},{y:.2f}" for x, y in outline.tolist()) for outline in outlines]
        return [f'<polygon {common} points="{text}" group_id="{group}"></polygon>' for text in texts]
    x0, y0, x1, y1 = mask.box_xyxy
    if x1 == x0:
        return []
    runs = ", ".join(map(str, run_lengths(mask.array[y0:y1, x0:x1])))
    place = f'left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
    return [f'<mask {common} rle="{runs}" {place}></mask>']
