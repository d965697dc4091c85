"""Ids and names of the photos of a run in its COCO file, where those of its inputs repeat."""

from __future__ import annotations

import hashlib
import ntpath
from array import array

import numpy as np
from numpy.typing import NDArray

from mobilesam.remote import is_remote
from mobilesam.shards.job import Job
from mobilesam.shards.tasks import Task

Hashes = NDArray[np.int64]


class ImageNames:
    """Chooses the id and the file name of each photo of a run, in one pass over its plan.

    A photo keeps the id that its input gives it, unless another photo of the run has the same; then neither keeps it,
    and new ids follow the highest one of all inputs. Photos are named by their paths in their data sets; where two of
    the run have the same, the name of the data set is put before the path of every photo, so that all names lead from
    one folder. The plan holds what is needed, so that the answers do not depend on which shards are finished.

    Memory is 24 bytes for each photo: hashes of 64 bits, of which two equal ones would only make names longer.

    Args:
        job: the run.
    """

    def __init__(self, job: Job) -> None:
        ids, paths, names = array("q"), array("q"), array("q")
        highest = 0
        for task in (task for index in range(job.num_shards) for task in job.shard(index).tasks):
            if task.image_id is not None:
                ids.append(short_hash(repr(task.image_id)))
            if isinstance(task.image_id, int):
                highest = max(highest, task.image_id)
            paths.append(short_hash(task.photo.path))
            names.append(short_hash(str(task.photo)))
        self.next_id = highest + 1
        self.repeated_ids = repeated(ids)
        # A path that is another photo's data set and path would be the same name too.
        self.is_long = bool(len(repeated(paths + names)))

    def id(self, task: Task) -> int | str:
        """The id of a photo; a new one at each call where its own is none or repeats."""
        if task.image_id is not None and not is_in(self.repeated_ids, short_hash(repr(task.image_id))):
            return task.image_id
        self.next_id += 1
        return self.next_id - 1

    def name(self, task: Task) -> str:
        """The file name of a photo."""
        path = task.photo.path
        is_whole = path.startswith("/") or ntpath.isabs(path) or is_remote(path)  # it leads there from any folder
        return str(task.photo) if self.is_long and not is_whole else path


def short_hash(text: str) -> int:
    """Hash of a text, 64 bits."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def repeated(values: array[int]) -> Hashes:
    """The values that occur more than once, sorted."""
    found, counts = np.unique(np.array(values, np.int64), return_counts=True)
    return np.asarray(found[counts > 1])


def is_in(values: Hashes, value: int) -> bool:
    """Whether a sorted array holds a value."""
    i = int(np.searchsorted(values, value))
    return i < len(values) and int(values[i]) == value
