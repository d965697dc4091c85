"""Masks as SVG paths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobilesam.draw import COLOURS
from mobilesam.interchange.outlines import trace
from mobilesam.interchange.photo_masks import photo_size
from mobilesam.text import for_xml

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask


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
