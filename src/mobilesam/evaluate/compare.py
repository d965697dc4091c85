"""Two reports, object by object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilesam.data.photo import PhotoId
from mobilesam.errors import DataError
from mobilesam.evaluate.metrics import bootstrap
from mobilesam.evaluate.records import Row

Key = tuple[str, str, str, str]
"""Protocol, path of the photo, data set, object; the order in which they are paired."""


@dataclass(frozen=True)
class Difference:
    """Report B minus report A under one protocol, over the objects that both have."""

    num_objects: int
    a: float
    """Mean IoU of A over these objects."""
    b: float
    difference: float
    low: float
    high: float
    """95 % interval of the difference, photos drawn anew."""


def compare(a: Sequence[Row], b: Sequence[Row]) -> dict[str, Difference]:
    """The mean difference B - A of each protocol, with its interval over photos.

    Args:
        a: rows of one report.
        b: rows of the other.

    Raises:
        DataError: they share no object of any protocol, or one of them names no data sets and the other needs them.
    """
    has_datasets = all(row.photo.dataset for row in (*a, *b))  # reports of format 1 have none
    ours, theirs = index(a, has_datasets), index(b, has_datasets)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise DataError("the two reports share no object; compare runs over the same data and protocols")
    differences = {}
    for protocol in dict.fromkeys(key[0] for key in shared):
        keys = [key for key in shared if key[0] == protocol]
        values = [theirs[key] - ours[key] for key in keys]
        low, high = bootstrap(values, [PhotoId(dataset, path) for _, path, dataset, _ in keys])
        differences[protocol] = Difference(
            num_objects=len(keys),
            a=float(np.mean([ours[key] for key in keys])),
            b=float(np.mean([theirs[key] for key in keys])),
            difference=float(np.mean(values)),
            low=low,
            high=high,
        )
    return differences


def index(rows: Sequence[Row], has_datasets: bool) -> dict[Key, float]:
    """IoU of every question.

    Raises:
        DataError: without their data sets, photos cannot be told apart.
    """
    photos = {row.photo for row in rows}
    if not has_datasets and len({photo.path for photo in photos}) < len(photos):
        raise DataError(
            "one report has photos of the same name in several data sets, and the other, of an older version, does not "
            "say which data set a photo is from; evaluate again"
        )
    return {
        (row.protocol, row.photo.path, row.photo.dataset if has_datasets else "", row.object): row.iou for row in rows
    }
