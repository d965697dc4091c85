"""Paired comparison of two evaluation reports, object by object."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilesam.data.photo import PhotoId
from mobilesam.errors import DataError
from mobilesam.evaluate.metrics import bootstrap
from mobilesam.evaluate.records import Row
from mobilesam.evaluate.summaries import Report

log = logging.getLogger(__name__)

Key = tuple[str, str, str, str]
"""Protocol, path of the photo, data set, object id; pairs are sorted in this order."""


@dataclass(frozen=True)
class Difference:
    """Mean IoU of report B minus that of report A under one protocol, over the objects in both."""

    num_objects: int
    a: float
    """Mean IoU of A over these objects."""
    b: float
    difference: float
    low: float
    high: float
    """95 % bootstrap interval of the difference, resampling photos."""


def compare_reports(a: Report, b: Report) -> dict[str, Difference]:
    """As `compare`, of the rows of two reports, which must be of the same data where both say what they are of.

    Reports of older versions tell the sizes of their files alone; these are then compared, with a warning in the log.

    Raises:
        DataError: a data set of one name is not the same in both; and the errors of `compare`.
    """
    ours, theirs = (a.data_bytes, b.data_bytes) if a.data_bytes and b.data_bytes else (a.data, b.data)
    if ours is a.data and theirs:
        log.warning(
            "a report of an older version does not tell the bytes of its data: only names and sizes are compared"
        )
    other = sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
    if other:
        raise DataError(
            f"the two reports are of different data under one name: {', '.join(other)}; photos or annotations of one "
            "were added, removed or changed. Evaluate both models on the same data, or rename one data set"
        )
    return compare(a.rows, b.rows)


def compare(a: Sequence[Row], b: Sequence[Row]) -> dict[str, Difference]:
    """The mean IoU difference B - A per protocol, with a 95 % interval from a bootstrap over photos.

    Args:
        a: rows of one report.
        b: rows of the other.

    Raises:
        DataError: they share no object of any protocol, or one has photos of the same name in several data sets and the
            other, of format 1, does not name data sets.
    """
    # A report of format 1 can still be compared, by paths alone, if no path stands for two photos.
    has_datasets = all(row.photo.dataset for row in (*a, *b))
    ours, theirs = index(a, has_datasets), index(b, has_datasets)
    # Sorted, so that the seeded bootstrap gives the same interval whatever the order of the rows.
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise DataError("the two reports share no object; compare runs over the same data and protocols")
    differences = {}
    for protocol in dict.fromkeys(key[0] for key in shared):
        keys = [key for key in shared if key[0] == protocol]
        # Differences of pairs, not of two means: what makes an object hard for both models cancels out.
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
    """IoU of each row, under a key that identifies protocol, photo and object.

    Raises:
        DataError: data sets are not compared, but are needed to distinguish photos of the same name.
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
