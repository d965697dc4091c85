"""The onnxruntime backend: runs an exported pair of encoder and decoder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam import contract
from mobilesam.errors import ModelError, first_line
from mobilesam.integrity import described
from mobilesam.predict.backend import Floats
from mobilesam.predict.pair import Feed, PairBackend
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import onnxruntime as ort


class OnnxBackend(PairBackend[ort.InferenceSession]):
    """Backend that runs an exported pair in onnxruntime.

    Args:
        folder: folder with the pair.
        device: "cpu", or "cuda" if the installed onnxruntime has that provider.
        threads: number of threads per operator; None lets onnxruntime choose.
        quick_start: optimise for a few prompts: memory is allocated per call, which needs less and is slightly slower.
        image_size: side of the square input in pixels; None for the model's default.

    Raises:
        ModelError: a file is missing, damaged or of another contract, or the two files do not belong together.
    """

    own_files = (contract.ORT_ENCODER_FILE, contract.ORT_DECODER_FILE)

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        device: str = "cpu",
        threads: int | None = None,
        quick_start: bool = False,
        image_size: int | None = None,
    ) -> None:
        self._device, self._threads, self._quick_start = device, threads, quick_start
        super().__init__(folder, image_size)

    def _options(self) -> dict[str, Any]:
        return {"device": self._device, "threads": self._threads, "quick_start": self._quick_start}

    def _open(self, path: Path, grid: int | None) -> tuple[ort.InferenceSession, Mapping[str, str]]:
        is_busy = path.name == contract.MANY_FILE
        # Without an arena, every large array of an encoder is taken from the system and given back for each photo: at
        # 1024 px that takes as long as the computing, and fragments memory. One photo alone is not worth an arena.
        has_arena = is_busy or not self._quick_start
        session = open_session(path, self._device, self._threads, is_busy=is_busy, has_arena=has_arena, grid=grid)
        return session, session.get_modelmeta().custom_metadata_map

    def _run(self, graph: ort.InferenceSession, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        try:
            answers = graph.run(list(outputs), dict(feed))
        except Exception:  # onnxruntime's errors share no public base class
            # If no prompt exceeds `min_score`, the graph multiplies empty matrices; onnxruntime before 1.32 cannot.
            scores = self._scores_of_none(graph, feed)
            if scores is None:
                raise
            side = self._info.low_res
            answers = [np.empty((0, contract.NUM_MASKS, side, side), np.float32), scores]
        return [np.asarray(output) for output in answers]

    def _scores_of_none(self, graph: ort.InferenceSession, feed: Feed) -> Floats | None:
        """Scores of all prompts if none exceeds `min_score`; None if one does, or there is no such limit."""
        min_score = feed.get(contract.DECODER_MIN_SCORE)
        if min_score is None or min_score == -np.inf:
            return None
        everything = {**feed, contract.DECODER_MIN_SCORE: np.array(-np.inf, np.float32)}
        scores = np.asarray(graph.run(list(contract.DECODER_OUTPUTS), everything)[1])  # (N, 4)
        return None if (scores.max(axis=1) > min_score).any() else scores


def open_session(
    path: Path, device: str, threads: int | None, *, is_busy: bool, has_arena: bool, grid: int | None
) -> ort.InferenceSession:
    """Open an onnxruntime session; raises an error if the device is not available, instead of using the CPU.

    Args:
        path: the ONNX file.
        device: "cpu" or "cuda".
        threads: number of threads per operator; None lets onnxruntime choose.
        is_busy: whether calls follow each other immediately.
        has_arena: whether memory of one call is kept for the next.
        grid: for a decoder, the side of the embedding in cells; None for an encoder.
    """
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device)
    if provider is None or provider not in ort.get_available_providers():
        raise ModelError(
            f"this onnxruntime cannot run on '{device}'; it offers {', '.join(ort.get_available_providers())}"
        )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Buffers planned ahead would be kept for every shape that ever came: up to twice the memory, for no speed.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = has_arena
    # Waiting threads would otherwise spin, which costs a cold click processor time, and a phone its battery; only
    # where one call follows the other does it pay, a tenth.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if is_busy else "0")
    if grid is not None:
        options.add_free_dimension_override_by_name(contract.GRID, grid)
        options.add_free_dimension_override_by_name(contract.LOW_RES, 4 * grid)
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's errors share no public base class
        raise ModelError(f"{path} is damaged or not an ONNX model{described(path)} ({first_line(error)})") from error
