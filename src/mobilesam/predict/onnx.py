"""The exported pair in onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort

from mobilesam import contract
from mobilesam.errors import ModelError, first_line
from mobilesam.predict.backend import Floats
from mobilesam.predict.pair import Feed, PairBackend


class OnnxBackend(PairBackend[ort.InferenceSession]):
    """An exported pair in onnxruntime.

    Args:
        folder: where the pair lies.
        device: "cpu", or "cuda" with an onnxruntime that has that provider.
        threads: for each operator; None lets onnxruntime choose.
        quick_start: optimise the graphs less: opens sooner, then answers a little slower.
        image_size: side of the picture in pixels; the model's own when None.

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
        image_size: int | None = None,
    ) -> None:
        self._device, self._threads, self._quick_start = device, threads, quick_start
        super().__init__(folder, image_size)

    def _open(self, path: Path, grid: int | None) -> tuple[ort.InferenceSession, Mapping[str, str]]:
        is_busy = path.name == contract.MANY_FILE
        session = open_session(path, self._device, self._threads, self._quick_start, is_busy, grid)
        return session, session.get_modelmeta().custom_metadata_map

    def _run(self, graph: ort.InferenceSession, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        options = ort.RunOptions()
        if graph is self._encoder and self._device == "cpu":
            # What the encoder worked with is returned before the decoder takes its own.
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return [np.asarray(output) for output in graph.run(list(outputs), dict(feed), options)]


def open_session(
    path: Path, device: str, threads: int | None, quick_start: bool, is_busy: bool, grid: int | None
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
    if grid is not None:
        options.add_free_dimension_override_by_name(contract.GRID, grid)
        options.add_free_dimension_override_by_name(contract.LOW_RES, 4 * grid)
    if quick_start:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's errors share no public base class
        raise ModelError(f"{path} is damaged or not an ONNX model ({first_line(error)})") from error
