"""Common base of the backends for formats with fixed shapes: one photo and one prompt of five points per inference."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mobilesam import contract
from mobilesam.errors import ModelError, PromptError
from mobilesam.integrity import check_files, read_card
from mobilesam.predict.backend import Floats, ModelInfo, check_image, check_prompts
from mobilesam.predict.identity import numbers_stored
from mobilesam.predict.pair import info_from_card, reopen

Graph = TypeVar("Graph")

BOX = (contract.LABEL_BOX_TOP_LEFT, contract.LABEL_BOX_BOTTOM_RIGHT)


class FixedBackend(ABC, Generic[Graph]):
    """Backend for an encoder and a decoder whose inputs have one shape each.

    Photos are padded to the square and prompts to five points; several of either are taken one by one. Inferences of
    several threads wait for each other.

    Args:
        folder: with the two files and model.json.
        threads: number of threads per operator; None lets the runtime choose.
        image_size: side of the square input in pixels; only the one that was exported.

    Raises:
        ModelError: a file is missing, damaged, or of another format or contract.
        SettingsError: another image size was asked for.
    """

    name: ClassVar[str]
    """Of the format and of the backend."""
    suffix: ClassVar[str]
    """Of the two files."""

    def __init__(
        self, folder: str | os.PathLike[str], *, threads: int | None = None, image_size: int | None = None
    ) -> None:
        self._folder, self._threads, self._image_size = Path(folder), threads, image_size
        self._info = read_model(self._folder, self.name).at(image_size)
        files = [f"{graph}{self.suffix}" for graph in ("encoder", "decoder")]
        for file in files:
            if not (self._folder / file).exists():
                raise ModelError(f"{self._folder / file} does not exist; a {self.name} model has {' and '.join(files)}")
        check_files(folder)
        self._stored = numbers_stored(self)
        self._lock = Lock()
        self._encoder, self._decoder = (self._open(self._folder / file) for file in files)

    @abstractmethod
    def _open(self, path: Path) -> Graph:
        """Open a file for inference.

        Raises:
            ModelError: it is damaged.
        """

    @abstractmethod
    def _run(self, graph: Graph, inputs: dict[str, Floats], outputs: tuple[str, ...]) -> list[Floats]:
        """Run one inference, called by one thread at a time; inputs are in the contract's order."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the options; the files are opened again when unpickled."""
        options = {"threads": self._threads, "image_size": self._image_size}
        stored = tuple(self._stored.items())
        return reopen, (type(self), str(self._folder.absolute()), tuple(options.items()), self._info, stored)

    def __deepcopy__(self, memo: object) -> FixedBackend[Graph]:
        return self

    def __copy__(self) -> FixedBackend[Graph]:
        return self

    @property
    def folder(self) -> Path:
        """The folder with the files."""
        return self._folder

    @property
    def info(self) -> ModelInfo:
        """Properties of the model that it runs."""
        return self._info

    def encode(self, image: Floats) -> Floats:
        """Encode photos (B, 3, H, W), RGB 0-255 with the long side at the image size, into (B, C, g, g)."""
        check_image(image, self._info)
        _, _, h, w = image.shape
        side = self._info.image_size
        square = np.zeros((1, 3, side, side), np.float32)  # what lies outside of the photo is ignored
        input_hw = np.array([h, w], np.float32)
        embeddings = []
        for photo in image:
            square[0, :, :h, :w] = photo
            feed = dict(zip(contract.FIXED_ENCODER_INPUTS, (square, input_hw), strict=True))
            with self._lock:
                embeddings += self._run(self._encoder, feed, (contract.ENCODER_OUTPUT,))
        return np.concatenate(embeddings)

    def decode(
        self,
        embedding: Floats,
        point_coords: Floats,
        point_labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
        min_score: float = -np.inf,
    ) -> tuple[Floats, Floats]:
        """Decode N prompts, one by one, into low_res_masks (S, 4, L, L) and iou_predictions (N, 4).

        Raises:
            PromptError: a prompt has more than five points, a box counting as two, or is not as SAM's predictor makes
                it: with a box, or else with one point of padding.
        """
        inputs = (embedding, point_coords, point_labels, mask_input, has_mask_input)
        check_prompts(self._info, *inputs)
        count, side = len(point_coords), self._info.low_res
        masks, scores = [np.empty((0, contract.NUM_MASKS, side, side), np.float32)], []
        for i in range(count):
            points = five_points(point_coords[i], point_labels[i])
            own = [array[i % len(array) : i % len(array) + 1] for array in (embedding, mask_input, has_mask_input)]
            feed = dict(zip(contract.DECODER_INPUTS, (own[0], *points, *own[1:]), strict=True))
            with self._lock:
                logits, score = self._run(self._decoder, feed, contract.DECODER_OUTPUTS)
            scores.append(score)
            if score.max() > min_score:
                masks.append(logits)
        return np.concatenate(masks), np.concatenate([np.empty((0, contract.NUM_MASKS), np.float32), *scores])


def five_points(coords: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """A prompt (P, 2), (P,) as the decoder of fixed shapes takes it: (1, 5, 2) and (1, 5), filled with label -1.

    That decoder itself adds the padding point of prompts without a box, so it is left out here.

    Raises:
        PromptError: there are too many points, or the padding is not SAM's.
    """
    is_point = labels != contract.LABEL_PADDING
    count, limit = int(is_point.sum()), contract.FIXED_POINTS
    if len(labels) - count != (not np.isin(labels, BOX).any()):
        raise PromptError(
            "a model of fixed shapes takes prompts as SAM's predictor makes them: with a box and no padding, or "
            f"without a box and with one point of label -1; the labels are {labels.tolist()}"
        )
    if count > limit:
        raise PromptError(
            f"this prompt has {count} points, a box counting as two; a model exported for fixed shapes takes at most "
            f"{limit} ({limit - 2} beside a box). Leave some out, or use the backend onnx"
        )
    all_coords = np.zeros((1, limit, 2), np.float32)
    all_labels = np.full((1, limit), contract.LABEL_PADDING, np.float32)
    all_coords[0, :count], all_labels[0, :count] = coords[is_point], labels[is_point]
    return all_coords, all_labels


def read_model(folder: Path, name: str) -> ModelInfo:
    """Properties of a model from the model.json of a format with fixed shapes.

    Raises:
        ModelError: there is none, or it is of another format.
    """
    card = read_card(folder)
    if card.get(contract.FORMAT) != name:
        what = (
            f"a model in the format {card[contract.FORMAT]}" if contract.FORMAT in card else "no model exported for it"
        )
        raise ModelError(f"{folder} holds {what}; for {name}: mobilesam export MODEL -o FOLDER --format {name}")
    return info_from_card(folder)
