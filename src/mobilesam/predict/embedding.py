"""The embedding of a photo: encoded once, then prompted any number of times."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mobilesam.contract import PATCH_SIZE
from mobilesam.errors import ImageError, PromptError
from mobilesam.image import PhotoLike, Rgb, open_photo, scale_points
from mobilesam.outputs import Outputs
from mobilesam.predict.backend import Backend, Floats, picklable
from mobilesam.predict.embedding_file import Header, read_embedding, write_embedding
from mobilesam.predict.enclosure import Enclosure
from mobilesam.predict.prompts import Prompt, alike, check_prior, check_rows, count_of, make_prompt, per_prompt
from mobilesam.predict.results import Prediction
from mobilesam.predict.zoom import Zoom, look_again

# N prompts, P points, K masks, L = 4g side of the logits


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """An encoded photo, made by `Predictor.embed`; immutable, thread-safe, and picklable for other processes."""

    backend: Backend = field(repr=False)
    """Of the model that made it; decodes the prompts."""
    array: Floats = field(repr=False)
    """(1, C, g, g)"""
    original_hw: tuple[int, int]
    """(height, width) of the photo, in whose pixels prompts and masks are."""
    input_hw: tuple[int, int]
    """(height, width) to which the photo was resized for the encoder."""
    photo: Rgb | None = field(default=None, repr=False)
    """The photo itself, for cut-outs and zoom; None if `load` was called without it."""

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "backend": picklable(self.backend)}

    @property
    def image_size(self) -> int:
        """Side in pixels of the square input that was encoded."""
        return int(self.array.shape[-1]) * PATCH_SIZE

    def predict(
        self,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        prior: Prediction | NDArray[np.float32] | None = None,
        multimask: bool | None = None,
        zoom: Zoom = "auto",
    ) -> Prediction:
        """Segment the object at one prompt: points, a box, or both.

        Args:
            points: (P, 2) (x, y) in pixels of the photo.
            labels: (P,) 1 for object, 0 for background; all 1 by default.
            box: (x0, y0, x1, y1) in pixels of the photo.
            prior: an earlier prediction to refine (by its best mask), or logits (L, L) of one.
            multimask: three masks of different extent, or one; None: three for a single point without a box or prior.
            zoom: encode the region around the box, or around the mask that the points gave, again and enlarged, for
                detail that the whole photo's embedding lacks. "auto": for small objects, below a size measured for the
                model (`ModelInfo.zoom_below`); True: always; False: never. With a prior, the region is asked with the
                points and the box alone, and its mask most similar to the refined one is taken.

        Raises:
            PromptError: the prompt is invalid for this photo, or zoom=True without a photo; says how to fix it.

        Examples:
            >>> found = image.predict(points=[(290, 120)])  # a click: three masks of different extent
            >>> found.masks.shape, found.scores.shape
            ((3, 400, 600), (3,))
            >>> box = image.predict(box=(170, 15, 410, 310))  # a box: one mask
            >>> len(box)
            1
            >>> finer = image.predict(points=[(290, 120), (100, 200)], labels=[1, 0], prior=found)  # not the saucer
            >>> bool(finer.best.array[120, 290]), bool(finer.best.array[200, 100])
            (True, False)
        """
        prompt = make_prompt(self.original_hw, points=points, labels=labels, box=box, has_prior=prior is not None)
        wants_three = prompt.is_ambiguous if multimask is None else multimask
        return self.answer([prompt], [wants_three], self._prior_logits(prior), zoom)[0]

    def predict_batch(
        self,
        *,
        points: Sequence[ArrayLike] | NDArray[np.generic] | None = None,
        labels: Sequence[ArrayLike] | NDArray[np.generic] | None = None,
        boxes: Sequence[ArrayLike] | NDArray[np.generic] | None = None,
        multimask: bool | None = None,
        zoom: Zoom = "auto",
    ) -> list[Prediction]:
        """Segment with N independent prompts; each result equals that of `predict` with the same prompt.

        Args:
            points: N entries, each (P, 2) or one (x, y); P may differ.
            labels: N entries, each (P,).
            boxes: (N, 4) xyxy.
            multimask: as in `predict`, for all prompts.
            zoom: as in `predict`, for each prompt.

        Raises:
            PromptError: a prompt is invalid, the arguments differ in length, or zoom=True without a photo.

        Examples:
            >>> cup, spoon = image.predict_batch(boxes=[(170, 15, 410, 310), (325, 65, 425, 327)])
            >>> cup.best.area > spoon.best.area
            True
            >>> clicks = image.predict_batch(points=[(290, 120), (110, 250)])  # a click each: three masks each
            >>> [len(found) for found in clicks]
            [3, 3]
        """
        given = [values for values in (points, boxes) if values is not None]
        if not given:
            raise PromptError("nothing to segment: give points= or boxes=, one entry per prompt")
        count = count_of(given[0], "boxes" if points is None else "points")
        columns = [per_prompt(v, count, n) for v, n in ((points, "points"), (labels, "labels"), (boxes, "boxes"))]
        prompts = [
            make_prompt(self.original_hw, points=point, labels=label, box=box)
            for point, label, box in zip(*columns, strict=True)
        ]
        return self.answer(prompts, [p.is_ambiguous if multimask is None else multimask for p in prompts], None, zoom)

    def answer(
        self,
        prompts: list[Prompt],
        wants_three: list[bool],
        priors: Floats | None,
        zoom: Zoom,
        *,
        encloses: bool = True,
    ) -> list[Prediction]:
        """Segment with N prompts that were checked before; `predict` and `predict_batch` check and call it.

        Args:
            prompts: in pixels of this photo.
            wants_three: for each prompt whether it gets three masks, or one.
            priors: logits (N, 1, L, L) to refine, or (1, 1, L, L) for all prompts; None for none.
            zoom: as in `predict`, for each prompt.
            encloses: whether boxes enclose their objects, where the model says by how much (`ModelInfo.outside_box`).

        Raises:
            PromptError: a shape is wrong, or zoom=True without a photo.
        """
        if not prompts:
            return []
        penalty = self.backend.info.outside_box if encloses else 0.0
        first = self._decode(prompts, wants_three, priors, penalty)
        return look_again(self.backend, self.photo, prompts, first, zoom, has_prior=priors is not None)

    def predict_points(self, points: NDArray[np.generic], *, min_score: float) -> list[tuple[int, Prediction]]:
        """Three masks for each of many single points, skipping points whose scores are all too low.

        It is one call of the decoder, whose memory grows with the number of points (`ModelInfo.prompts_per_call`).
        Results equal those of `predict_batch(points=points, multimask=True)`; masks of skipped points are not computed.

        Args:
            points: (N, 2) (x, y) in pixels of the photo.
            min_score: points whose highest predicted IoU is not above this are skipped.

        Returns:
            (index of the point, its prediction) for each point that is not skipped.

        Raises:
            PromptError: there are no points, or one lies outside the photo.

        Examples:
            >>> sure = image.predict_points(np.array([(290, 120), (2, 2)]), min_score=0.5)
            >>> 0 in [index for index, found in sure]
            True
        """
        prompts = [make_prompt(self.original_hw, points=point) for point in check_rows(points, 2, "points", "(x, y)")]
        if not prompts:
            raise PromptError("predict_points was given no points; give (N, 2) with N at least 1")
        if not isinstance(min_score, (int, float, np.number)) or math.isnan(min_score):
            raise PromptError(f"min_score must be a number, not {min_score!r:.40}; -inf keeps every point")
        low_res, scores = self._run(prompts, None, min_score)
        sure = np.flatnonzero(scores.max(axis=1) > min_score)
        return [
            (int(row), self._prediction(logits[1:], scores[row, 1:])) for logits, row in zip(low_res, sure, strict=True)
        ]

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the embedding and the model's identity, but not the photo, to a file for `Predictor.load_embedding`.

        Args:
            path: the file; one that an earlier call wrote is replaced.
            overwrite: replace a file that this package did not write too.

        Raises:
            OutputError: another's file is there.
            OSError: the file cannot be written.

        Examples:
            >>> image.save("coffee.embedding")
        """
        header = Header.of(self.backend.info, self.original_hw, self.input_hw)
        write_embedding(path, header, self.array, Outputs(overwrite=overwrite))

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: Backend, *, photo: PhotoLike | None = None) -> ImageEmbedding:
        """Read a file written by `save`.

        Args:
            path: the file.
            backend: backend of the model that made it.
            photo: the photo it was made from, for cut-outs and zoom.

        Raises:
            ModelError: the file is not an embedding, is damaged, or belongs to another model.
            ImageError: the photo cannot be opened or has another size than the one embedded.
        """
        header, array = read_embedding(path, backend.info)
        rgb = None if photo is None else open_photo(photo)
        h, w = header.original_hw
        if rgb is not None and rgb.shape[:2] != (h, w):
            raise ImageError(
                f"the photo is {rgb.shape[1]}x{rgb.shape[0]}, {path} was made from one of {w}x{h}; "
                "give the photo that was embedded"
            )
        return cls(backend, array, header.original_hw, header.input_hw, rgb)

    def _prior_logits(self, prior: Prediction | NDArray[np.float32] | None) -> Floats | None:
        """Logits of a prior as (1, 1, L, L)."""
        if prior is None:
            return None
        logits = prior.low_res[prior.best_index] if isinstance(prior, Prediction) else prior
        return check_prior(logits, self.backend.info.low_res)

    def _decode(
        self, prompts: list[Prompt], wants_three: list[bool], priors: Floats | None, penalty: float
    ) -> list[Prediction]:
        """Decode prompts in batches of equal length; returns predictions in the order of the prompts."""
        answers: dict[int, Prediction] = {}
        for chunk in alike(prompts, self.backend.info.prompts_per_call):
            prior = priors[chunk] if priors is not None and len(priors) > 1 else priors
            low_res, scores = self._run([prompts[i] for i in chunk], prior)
            for row, i in enumerate(chunk):
                kept = slice(1, 4) if wants_three[i] else slice(0, 1)
                enclosure = Enclosure.of(prompts[i], penalty)
                answers[i] = self._prediction(low_res[row, kept], scores[row, kept], enclosure)
        return [answers[i] for i in range(len(prompts))]

    def _run(self, prompts: list[Prompt], prior: Floats | None, min_score: float = -np.inf) -> tuple[Floats, Floats]:
        """One call of the decoder: logits (S, 4, L, L) of prompts that exceed `min_score`, and scores (N, 4)."""
        side = self.backend.info.low_res
        coords = scale_points(np.stack([p.coords for p in prompts]), self.original_hw, self.input_hw)
        labels = np.stack([p.labels for p in prompts])
        has_prior = np.full(1 if prior is None else len(prior), float(prior is not None), np.float32)
        if prior is None:
            prior = np.zeros((1, 1, side, side), np.float32)
        return self.backend.decode(self.array, coords, labels, prior, has_prior, min_score)

    def _prediction(self, low_res: Floats, scores: Floats, enclosure: Enclosure | None = None) -> Prediction:
        return Prediction(
            low_res, scores, self.image_size, self.input_hw, self.original_hw, self.photo, enclosure=enclosure
        )
