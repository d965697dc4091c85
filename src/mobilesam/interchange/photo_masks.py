"""The masks of one photo, as every format takes them: the size of the photo, and a name for each mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mobilesam.errors import SettingsError

if TYPE_CHECKING:
    from mobilesam.predict.results import Mask


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
