"""Common base of the backends that run an exported pair: checks its files and selects the graph for each call."""

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
from mobilesam.integrity import check_files, read_card
from mobilesam.predict.backend import Backend, Floats, ModelInfo, check_image, check_prompts
from mobilesam.predict.identity import numbers_stored

Graph = TypeVar("Graph")
Feed = Mapping[str, Floats]
"""A graph's inputs by their names."""


class PairBackend(ABC, Generic[Graph]):
    """Backend for encoder.onnx and decoder.onnx of a folder, and decoder_many.onnx for calls with many prompts.

    Subclasses open and run graphs in their runtime; everything else is the same for all runtimes.

    Args:
        folder: folder with the pair.
        image_size: side of the square input in pixels; None for the model's default.

    Raises:
        SettingsError: the model does not support that size.
        ModelError: a file is missing, damaged, not the one that was exported, of another contract, or the two do not
            belong together.
    """

    def __init__(self, folder: str | os.PathLike[str], image_size: int | None = None) -> None:
        self._folder = Path(folder)
        self._many_lock = Lock()
        self._many_graphs: list[
            Graph | None
        ] = []  # empty until it is needed; then one entry, None if there is no such file
        self._asked_size = image_size
        encoder, decoder = self._files(self._folder)
        check_files(folder, [graph_file(folder, name).name for name in self._with_weights(encoder, decoder)])
        # One after the other: opening them in two threads is hardly faster and takes more memory.
        self._encoder, encoder_data = self._open(graph_file(folder, encoder), None)
        own = read_info(encoder_data, folder)
        self._takes_photos = encoder_data["contract_version"] != "2"  # contract 2 takes one photo per call
        self._info = own.at(image_size)
        self._decoder, decoder_data = self._open(graph_file(folder, decoder), self._info.grid)
        if read_info(decoder_data, folder) != own:
            raise ModelError(f"{folder}: encoder and decoder come from different models; export them again")
        self._stored = numbers_stored(self)

    @abstractmethod
    def _options(self) -> dict[str, Any]:
        """The constructor's arguments except folder and image size, to open the pair again in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and the options, not the graphs, which are opened again when unpickled."""
        options = {**self._options(), "image_size": self._asked_size}
        stored = tuple(self._stored.items())
        return reopen, (type(self), str(self._folder.absolute()), tuple(options.items()), self._info, stored)

    # A backend is immutable, so a copy can be the same object; the default would use `__reduce__` and open files again.
    def __deepcopy__(self, memo: object) -> PairBackend[Graph]:
        return self

    def __copy__(self) -> PairBackend[Graph]:
        return self

    own_files: tuple[str, str] | None = None
    """File names of encoder and decoder in the runtime's own format."""

    @classmethod
    def _files(cls, folder: Path) -> tuple[str, str]:
        """The encoder and decoder to open: ONNX files, or those in the runtime's own format where there are none."""
        own = cls.own_files
        if own and not (folder / contract.ENCODER_FILE).is_file() and (folder / own[0]).is_file():
            return own
        return contract.ENCODER_FILE, contract.DECODER_FILE

    @staticmethod
    def _with_weights(*names: str) -> list[str]:
        """Files of a pair, with those that hold the weights of OpenVINO's graphs."""
        return list(dict.fromkeys(n for name in names for n in (name, name.replace(".xml", ".bin"))))

    @abstractmethod
    def _open(self, path: Path, grid: int | None) -> tuple[Graph, Mapping[str, str]]:
        """Open a graph for inference; returns it and its metadata.

        Args:
            path: the ONNX file.
            grid: for a decoder, the side of the embedding in cells, so that the runtime can optimise for fixed shapes;
                None for an encoder.

        Raises:
            ModelError: the file is damaged.
        """

    @abstractmethod
    def _run(self, graph: Graph, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        """Run one inference; thread-safe."""

    @property
    def folder(self) -> Path:
        """The folder with the pair."""
        return self._folder

    @property
    def info(self) -> ModelInfo:
        """Properties of the model that it runs."""
        return self._info

    def encode(self, image: Floats) -> Floats:
        """Encode photos (B, 3, H, W), RGB 0-255, into (B, C, g, g)."""
        check_image(image, self._info)
        return self._run(self._encoder, {contract.ENCODER_INPUT: image}, (contract.ENCODER_OUTPUT,))[0]

    def encode_at(self, image: Floats) -> Floats:
        """Encode photos (B, 3, H, W) at any side that the model supports, that of their longer side.

        Raises:
            SettingsError: the model does not support that side.
        """
        check_image(image, self._info.at(max(image.shape[2:], default=0)))
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
        """Decode N prompts into low_res_masks (S, 4, 4g, 4g) and iou_predictions (N, 4); see `Backend.decode`."""
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
        """Run one of the decoders: logits (S, 4, L, L) and scores (N, 4)."""
        low_res, scores = self._run(graph, feed, contract.DECODER_OUTPUTS)
        return low_res, scores

    def open_all(self) -> None:
        """Open the decoder for many prompts too, which otherwise waits for its first call.

        Raises:
            ModelError: it is damaged, or was exported with another decoder.
        """
        _ = self._many

    @property
    def _many(self) -> Graph | None:
        """The decoder for many prompts, or None; opened at first use, so that a single click does not wait for it."""
        with self._many_lock:  # so that only one thread opens it: it takes a second and memory
            if not self._many_graphs:
                self._many_graphs.append(self._open_many())
            return self._many_graphs[0]

    def _open_many(self) -> Graph | None:
        path = self._folder / contract.MANY_FILE
        if not path.is_file():
            return None
        is_known = check_files(self._folder, [contract.MANY_FILE])
        graph, metadata = self._open(path, self._info.grid)
        if not is_known:  # without sha256 of both files from one export, the metadata must show that they fit
            check_many(metadata, path)
        return graph


@lru_cache(maxsize=1)
def reopen(
    cls: type[Backend],
    folder: str,
    options: tuple[tuple[str, Any], ...],
    info: ModelInfo,
    stored: tuple[tuple[str, str], ...] = (),
) -> Backend:
    """Open an unpickled backend; cached, so that all embeddings sent to a process share one.

    Args:
        cls: its class.
        folder: its folder.
        options: further arguments of the class.
        info: what it must hold.
        stored: how its files must store that: the items of `identity.numbers_stored`.

    Raises:
        ModelError: its folder is not on this machine, or now holds another model, or the same in other numbers.
    """
    found = cls(folder, **dict(options))  # type: ignore[call-arg]
    if found.info != info:
        raise ModelError(
            f"{folder} holds '{found.info.name}' ({found.info.weights_sha256[:12]}) now, but what was pickled belongs "
            f"to '{info.name}' ({info.weights_sha256[:12]}); load the model again"
        )
    if numbers_stored(found) != dict(stored):
        raise ModelError(
            f"{folder} holds '{info.name}' in other numbers now, such as another precision or calibration, than when "
            "it was pickled; load the model again"
        )
    return found


def graph_file(folder: str | os.PathLike[str], name: str) -> Path:
    """Path of one graph of an exported pair.

    Raises:
        ModelError: the file does not exist.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist; a model folder holds {contract.ENCODER_FILE}, {contract.DECODER_FILE}"
        )
    return path


def check_many(data: Mapping[str, str], path: Path) -> None:
    """Check by its metadata that decoder_many.onnx belongs to the decoder.onnx beside it, whose weights it uses.

    Raises:
        ModelError: it was exported with another decoder.
    """
    content = graph_file(path.parent, contract.DECODER_FILE).read_bytes()
    if data.get(contract.MANY_DECODER_SHA256) != hashlib.sha256(content).hexdigest():
        raise ModelError(f"{path} was exported with another {contract.DECODER_FILE}; export them again, or delete it")


def are_many(feed: Feed) -> bool:
    """Whether the decoder for many prompts supports these inputs and is faster for them."""
    num_prompts, num_points, _ = feed["point_coords"].shape
    is_one_photo = len(feed["embedding"]) == 1 and not feed["has_mask_input"].any()
    return num_prompts >= contract.MANY_PROMPTS and num_points <= contract.MANY_POINTS and is_one_photo


def info_from_card(folder: str | os.PathLike[str]) -> ModelInfo:
    """Read the properties of a model from model.json, for formats whose files hold no metadata.

    Raises:
        ModelError: there is no model.json, or it is damaged, or of another version of the contract.
    """
    card = read_card(folder)
    if not card:
        raise ModelError(f"{folder} has no {contract.CARD_FILE}; export the model again")
    return read_info({"model_name": str(card.get("name")), **{key: str(value) for key, value in card.items()}}, folder)


def read_info(data: Mapping[str, str], folder: str | os.PathLike[str]) -> ModelInfo:
    """Read the properties of a model from the metadata of a graph.

    Raises:
        ModelError: it was not exported by this package, or with another version of the contract.
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
        outside_box=float(data.get(contract.OUTSIDE_BOX, 0)),
    )
