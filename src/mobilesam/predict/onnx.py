"""The exported pair in onnxruntime."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort

from mobilesam import contract
from mobilesam.errors import ModelError, first_line
from mobilesam.predict.backend import Floats, ModelInfo, check_many, decoder_feed, graph_file, many_feed, read_info


class OnnxBackend:
    """encoder.onnx and decoder.onnx of one folder, and decoder_many.onnx once many prompts come.

    Args:
        folder: where the pair lies.
        device: "cpu", or "cuda" with an onnxruntime that has that provider.
        threads: for each operator; None lets onnxruntime choose.
        quick_start: optimise the graphs less: opens sooner, then answers a little slower.

    Raises:
        ModelError: a file is missing, damaged, of another contract, or the two do not belong together.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        device: str = "cpu",
        threads: int | None = None,
        quick_start: bool = False,
    ) -> None:
        # One after the other: opening them in two threads is no faster to speak of and takes more memory.
        self._many_file = Path(folder) / contract.MANY_FILE
        self._device, self._options = device, (device, threads, quick_start)
        self._encoder = open_session(graph_file(folder, contract.ENCODER_FILE), device, threads, quick_start)
        self._decoder = open_session(graph_file(folder, contract.DECODER_FILE), device, threads, quick_start)
        self._info = read_info(metadata_of(self._encoder), folder)
        if read_info(metadata_of(self._decoder), folder) != self._info:
            raise ModelError(f"{folder}: encoder and decoder come from different models; export them again")

    @property
    def info(self) -> ModelInfo:
        """The model it runs."""
        return self._info

    def encode(self, image: Floats) -> Floats:
        """(B, 3, H, W) RGB 0-255 → (B, C, g, g)."""
        options = ort.RunOptions()
        if self._device == "cpu":  # what the encoder worked with is returned before the decoder takes its own
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        (embedding,) = self._encoder.run([contract.ENCODER_OUTPUT], {contract.ENCODER_INPUT: image}, options)
        return np.asarray(embedding)

    def decode(
        self,
        embedding: Floats,
        point_coords: Floats,
        point_labels: Floats,
        mask_input: Floats,
        has_mask_input: Floats,
        min_score: float = -np.inf,
    ) -> tuple[Floats, Floats]:
        """(1, C, g, g) and N prompts → low_res_masks (S, 4, 4g, 4g), iou_predictions (N, 4)."""
        inputs = (embedding, point_coords, point_labels, mask_input, has_mask_input)
        feed, session = decoder_feed(inputs, min_score), self._decoder
        many = many_feed(feed)
        if many and self._many:
            feed, session = many, self._many
        low_res, scores = session.run(list(contract.DECODER_OUTPUTS), feed)
        return np.asarray(low_res), np.asarray(scores)

    @cached_property
    def _many(self) -> ort.InferenceSession | None:
        """The decoder for many prompts, where the folder has one; a click never waits for it."""
        if not self._many_file.is_file():
            return None
        session = open_session(self._many_file, *self._options, is_busy=True)
        check_many(metadata_of(session), self._many_file)
        return session


def open_session(
    path: Path, device: str, threads: int | None, quick_start: bool, is_busy: bool = False
) -> ort.InferenceSession:
    """A session that fails loudly where its provider is missing; a busy one gets call after call."""
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device)
    if provider is None or provider not in ort.get_available_providers():
        raise ModelError(
            f"this onnxruntime cannot run on '{device}'; it offers {', '.join(ort.get_available_providers())}"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Buffers planned ahead would be kept for every shape that ever came: up to twice the memory, for no speed.
    options.enable_mem_pattern = False
    # Waiting threads would otherwise spin, which costs a cold click processor time, and a phone its battery; only
    # where one call follows the other does it pay, a tenth.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if is_busy else "0")
    if quick_start:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's errors share no public base class
        raise ModelError(f"{path} is damaged or not an ONNX model ({first_line(error)})") from error


def metadata_of(session: ort.InferenceSession) -> dict[str, str]:
    """The contract's metadata of a graph."""
    return dict(session.get_modelmeta().custom_metadata_map)
