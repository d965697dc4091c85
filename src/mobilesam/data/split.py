"""Reproducible subsets of photos: a fraction to train on, and photos held out from training.

Draws depend on a photo's path in its data set, not on what the data set is called.
"""

from __future__ import annotations

import contextlib
import zlib

from mobilesam.data.decoded import DecodedPhoto, read_photo
from mobilesam.data.survey import Survey, look_at_annotation
from mobilesam.errors import DataError


def keep_fraction(photos: Survey, fraction: float, only_sources: tuple[str, ...] = ()) -> Survey:
    """Keep a fraction of the photos, the same ones in every run; a smaller fraction is a subset of a larger one.

    Args:
        photos: all there are.
        fraction: share to keep, 0-1.
        only_sources: sources to keep; all when empty.

    Raises:
        DataError: no photo is left.
    """
    dropped = [p.id for p in photos.photos if zlib.crc32(b"fraction" + p.id.path.encode()) / 2**32 >= fraction]
    if only_sources:
        pairs = zip(photos.photos, photos.sources, strict=True)
        dropped += [photo.id for photo, source in pairs if source not in only_sources]
    kept = photos.without(dropped)
    if not kept.photos:
        known = ", ".join(sorted(set(photos.sources)))
        raise DataError(f"no photo is left of data.fraction and data.only_sources; sources here: {known}")
    return kept


def hold_out(photos: Survey, count: int) -> tuple[list[DecodedPhoto], Survey]:
    """Split off held-out photos, which are never trained on, at most a tenth of all.

    Returns:
        The held-out photos, decoded, and the rest. A photo that is damaged or has no usable annotation stays in the
        rest.
    """
    count = min(count, len(photos.photos) // 10)
    held_out: list[DecodedPhoto] = []
    # Photos of the same path in two data sets have the same hash; the second part breaks the tie, whatever the order.
    for photo in sorted(photos.photos, key=lambda p: (zlib.crc32(b"validation" + p.id.path.encode()), p.id)):
        if len(held_out) == count:
            break
        if look_at_annotation(photo).reason is None:
            with contextlib.suppress(DataError):
                held_out.append(read_photo(photo))
    return held_out, photos.without(photo.id for photo in held_out)
