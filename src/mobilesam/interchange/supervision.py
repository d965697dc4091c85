"""Masks as detections of the library supervision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilesam.errors import MissingExtraError

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask

# N masks, H W photo


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
