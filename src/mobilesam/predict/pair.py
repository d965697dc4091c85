"""An exported pair, whatever runs its graphs: which graph answers, and do the files belong together?"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np

from mobilesam import contract
from mobilesam.errors import ModelError
from mobilesam.integrity import check_files
from mobilesam.predict.backend import Backend, Floats, ModelInfo, check_image, check_prompts

Graph = TypeVar("Graph")
Feed = Mapping[str, Floats]
"""A graph's inputs by their names."""


class PairBackend(ABC, Generic[Graph]):
    """encoder.onnx and decoder.onnx of one folder, and decoder_many.onnx once many prompts come.

    A runtime opens and runs graphs; everything else is the same for all of them.

    Args:
        folder: where they lie.
        image_size: side of the picture in pixels; the model's own when None.

    Raises:
        SettingsError: the model cannot take that side.
        ModelError: a file is missing, damaged, not the one that was exported, of another contract, or the two do not
            belong together.
    """

    def __init__(self, folder: str | os.PathLike[str], image_size: int | None = None) -> None:
        self._folder = Path(folder)
        self._many_lock = Lock()
        self._many_graphs: list[Graph | None] = []  # one when it was looked for
        self._asked_size = image_size
        check_files(folder, [graph_file(folder, name).name for name in (contract.ENCODER_FILE, contract.DECODER_FILE)])
        # One after the other: opening them in two threads is no faster to speak of and takes more memory.
        self._encoder, encoder_data = self._open(graph_file(folder, contract.ENCODER_FILE), None)
        own = read_info(encoder_data, folder)
        self._takes_photos = encoder_data["contract_version"] != "2"  # which had one photo a call
        self._info = own.at(image_size)
        self._decoder, decoder_data = self._open(graph_file(folder, contract.DECODER_FILE), self._info.grid)
        if read_info(decoder_data, folder) != own:
            raise ModelError(f"{folder}: encoder and decoder come from different models; export them again")

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """The constructor's arguments besides the folder, to open the pair again in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the folder and how to open it; the copy of a backend, which never changes, is itself."""
        options = {**self._options(), "image_size": self._asked_size}
        return reopen, (type(self), str(self._folder.absolute()), tuple(options.items()), self._info)

    def __deepcopy__(self, memo: object) -> PairBackend[Graph]:
        return self

    def __copy__(self) -> PairBackend[Graph]:
        return self

    @abstractmethod
    def _open(self, path: Path, grid: int | None) -> tuple[Graph, Mapping[str, str]]:
        """A graph made ready, and its metadata.

        Args:
            path: the file.
            grid: side of the embedding in cells, for a decoder: known now, it costs nothing in every call.

        Raises:
            ModelError: it is damaged.
        """

    @abstractmethod
    def _run(self, graph: Graph, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        """One inference; safe to call from several threads."""

    @property
    def info(self) -> ModelInfo:
        """The model it runs."""
        return self._info

    def encode(self, image: Floats) -> Floats:
        """(B, 3, H, W) RGB 0-255 → (B, C, g, g)."""
        check_image(image, self._info)
        return self._run(self._encoder, {contract.ENCODER_INPUT: image}, (contract.ENCODER_OUTPUT,))[0]

    def decode(
        self,
        embedding: Floats,
        point_coords: Floats,
        point_labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
        min_score: float = -np.inf,
    ) -> tuple[Floats, Floats]:
        """(1 or N, C, g, g) and N prompts → low_res_masks (S, 4, 4g, 4g), iou_predictions (N, 4)."""
        inputs = (embedding, point_coords, point_labels, mask_input, has_mask_input)
        check_prompts(self._info, *inputs)
        if len(embedding) > 1 and not self._takes_photos:
            answers = [
                self.decode(e[None], xy[None], codes[None], mask_input, has_mask_input, min_score)
                for e, xy, codes in zip(embedding, point_coords, point_labels, strict=True)
            ]
            low_res, scores = zip(*answers, strict=True)
            return np.concatenate(low_res), np.concatenate(scores)
        feed = dict(zip(contract.DECODER_INPUTS, inputs, strict=True))
        feed[contract.DECODER_MIN_SCORE] = np.array(min_score, np.float32)
        if are_many(feed) and self._many is not None:
            return self._answer(self._many, {name: feed[name] for name in contract.MANY_INPUTS})
        return self._answer(self._decoder, feed)

    def _answer(self, graph: Graph, feed: Feed) -> tuple[Floats, Floats]:
        """What one of the decoders says."""
        low_res, scores = self._run(graph, feed, contract.DECODER_OUTPUTS)
        return low_res, scores

    @property
    def _many(self) -> Graph | None:
        """The decoder for many prompts, where the folder has one; a click never waits for it."""
        with self._many_lock:  # threads that come at once shall not each open it: it takes a second and memory
            if not self._many_graphs:
                self._many_graphs.append(self._open_many())
            return self._many_graphs[0]

    def _open_many(self) -> Graph | None:
        path = self._folder / contract.MANY_FILE
        if not path.is_file():
            return None
        is_known = check_files(self._folder, [contract.MANY_FILE])
        graph, metadata = self._open(path, self._info.grid)
        if not is_known:  # else both have the sha256 that one export gave them
            check_many(metadata, path)
        return graph


@lru_cache(maxsize=1)
def reopen(cls: type[Backend], folder: str, options: tuple[tuple[str, Any], ...], info: ModelInfo) -> Backend:
    """The backend that was pickled: one for all the embeddings that come to a process, one after the other.

    Raises:
        ModelError: its folder is not on this machine, or holds another model now.
    """
    found = cls(folder, **dict(options))  # type: ignore[call-arg]
    if found.info != info:
        raise ModelError(
            f"{folder} holds '{found.info.name}' ({found.info.weights_sha256[:12]}) now, but what was pickled belongs "
            f"to '{info.name}' ({info.weights_sha256[:12]}); load the model again"
        )
    return found


def graph_file(folder: str | os.PathLike[str], name: str) -> Path:
    """One graph of an exported pair.

    Raises:
        ModelError: it is not there.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist; a model folder holds {contract.ENCODER_FILE}, {contract.DECODER_FILE}"
        )
    return path


def check_many(data: Mapping[str, str], path: Path) -> None:
    """Check by its metadata that a decoder for many prompts fits the decoder.onnx beside it, its weights.

    Raises:
        ModelError: it was exported with another one.
    """
    content = graph_file(path.parent, contract.DECODER_FILE).read_bytes()
    if data.get(contract.MANY_DECODER_SHA256) != hashlib.sha256(content).hexdigest():
        raise ModelError(f"{path} was exported with another {contract.DECODER_FILE}; export them again, or delete it")


def are_many(feed: Feed) -> bool:
    """Whether the decoder for many prompts serves a decoder's inputs, and is worth it."""
    num_prompts, num_points, _ = feed["point_coords"].shape
    is_one_photo = len(feed["embedding"]) == 1 and not feed["has_mask_input"].any()
    return num_prompts >= contract.MANY_PROMPTS and num_points <= contract.MANY_POINTS and is_one_photo


def read_info(data: Mapping[str, str], folder: str | os.PathLike[str]) -> ModelInfo:
    """What a graph's metadata says of its model.

    Raises:
        ModelError: it was not exported by this package, or under another contract.
    """
    missing = [key for key in contract.METADATA_KEYS if key not in data]
    if missing:
        raise ModelError(f"{folder}: not exported by mobilesam (no {', '.join(missing)} in the metadata)")
    if data["contract_version"] not in contract.READABLE:
        known = " and ".join(contract.READABLE)
        raise ModelError(f"{folder}: contract {data['contract_version']}, this package reads {known}; export it again")
    return ModelInfo(
        name=data["model_name"],
        image_size=int(data["image_size"]),
        embed_dim=int(data["embed_dim"]),
        licence=data["licence"],
        weights_sha256=data["weights_sha256"],
        image_sizes=data.get(contract.IMAGE_SIZES, ""),
        zoom_below=float(data.get(contract.ZOOM_BELOW, 0)),
        click_zoom_below=float(data.get(contract.CLICK_ZOOM_BELOW, 0)),
    )
