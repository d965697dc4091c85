"""What an object looks like: a linear classifier of the cells of image embeddings, learned while the video runs.

Ridge regression on the 256 values of each cell tells the object's cells from those around it. It is learned from the
first frame, which keeps its weight for ever and so holds the track to the object that was asked for, and from recent
frames, which are forgotten by and by. Both are kept as sums over cells (a 257 x 257 matrix each), so memory does not
grow with the video.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mobilesam.contract import PATCH_SIZE
from mobilesam.predict.embedding import ImageEmbedding
from mobilesam.tracking.settings import TrackSettings

# N cells that the region covers, C values of a cell and a constant, h w region

GAIN = 8.0  # makes a probability of the answer of the classifier, which is about 0.5 on the object and -0.5 beside it
LENGTH = 16.0  # of the vector of each cell: values of about 1


@dataclass(frozen=True)
class Sums:
    """Sums over cells of the embedding, from which the classifier is computed."""

    products: NDArray[np.float64]
    """(C, C) of pairs of values."""
    answers: NDArray[np.float64]
    """(C,) of values times 1 on the object, -1 beside it."""

    def mixed(self, newer: Sums, share: float) -> Sums:
        """A weighted mean with sums of another frame."""
        keep = 1 - share
        return Sums(keep * self.products + share * newer.products, keep * self.answers + share * newer.answers)

    def plus(self, other: Sums) -> Sums:
        """The sum with those of other cells."""
        return Sums(self.products + other.products, self.answers + other.answers)


class Appearance:
    """The appearance of one object."""

    def __init__(self, settings: TrackSettings) -> None:
        self.settings = settings
        self._first: Sums | None = None
        self._recent: Sums | None = None
        self._weights: NDArray[np.float64] | None = None

    def learn(self, image: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Learn from a region (h, w) and the object's mask in it; what the first call taught is never forgotten."""
        sums = _sums(image, mask)
        if self._recent is None:
            self._recent = sums
            self._first = sums if self._first is None else self._first.plus(sums)
        else:
            self._recent = self._recent.mixed(sums, self.settings.forgetting)
        self._solve()

    def learn_other(self, image: ImageEmbedding, mask: NDArray[np.bool_]) -> None:
        """Learn that another object, in a region (h, w), is not this one; this is never forgotten."""
        sums = _sums_of_other(image, mask)
        self._first = sums if self._first is None else self._first.plus(sums)
        if self._recent is not None:
            self._solve()

    def _solve(self) -> None:
        assert self._first is not None
        assert self._recent is not None
        both = self._first.mixed(self._recent, self.settings.recent_share)
        size = len(both.products)
        penalty = self.settings.regularisation * np.trace(both.products) / size
        self._weights = np.linalg.solve(both.products + penalty * np.eye(size), both.answers)

    def likeness(self, image: ImageEmbedding) -> NDArray[np.float32]:
        """How much each pixel of a region looks like the object: (h, w) 0-1."""
        assert self._weights is not None
        cells, (rows, columns) = _cells(image)
        answers = (cells @ self._weights).reshape(rows, columns).astype(np.float32)
        size = (columns * PATCH_SIZE, rows * PATCH_SIZE)
        height, width = image.input_hw
        wide = cv2.resize(answers, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
        wide = cv2.resize(wide, image.original_hw[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(1 / (1 + np.exp(-GAIN * wide)), np.float32)


def _cells(image: ImageEmbedding) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Cells of an embedding without its padding: (N, C), and their (rows, columns)."""
    rows, columns = (-(-side // PATCH_SIZE) for side in image.input_hw)
    grid = image.array[0, :, :rows, :columns]  # (C - 1, rows, columns)
    cells = grid.reshape(len(grid), -1).T.astype(np.float64)
    cells *= LENGTH / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)
    return np.concatenate([cells, np.ones((len(cells), 1))], axis=1), (rows, columns)


def _sums(image: ImageEmbedding, mask: NDArray[np.bool_]) -> Sums:
    """Sums over the cells of one region, in which the object and the rest weigh the same."""
    cells, hw = _cells(image)
    share, on = _shares(mask, hw)
    weights = np.where(on, 0.5 / max(1, on.sum()), 0.5 / max(1, (~on).sum()))
    weighted = cells * weights[:, None]
    return Sums(weighted.T @ cells, weighted.T @ (2.0 * share - 1))


def _sums_of_other(image: ImageEmbedding, mask: NDArray[np.bool_]) -> Sums:
    """Sums over the cells of another object, which weigh as much as the surroundings of this one."""
    cells, hw = _cells(image)
    _, on = _shares(mask, hw)
    weighted = cells[on] * (0.5 / max(1, on.sum()))
    return Sums(weighted.T @ cells[on], -weighted.sum(axis=0))


def _shares(mask: NDArray[np.bool_], hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How much of each cell a mask covers, and which cells count as the object: (N,), (N,)."""
    share = np.asarray(cv2.resize(mask.astype(np.float32), hw[::-1], interpolation=cv2.INTER_AREA), np.float32).ravel()
    return share, share > min(0.5, float(share.max()) * 0.5)  # thin objects fill no cell by half
