"""The exported pair in OpenVINO, which can compute in bfloat16 where an x86 processor does. Extra `openvino`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam import contract
from mobilesam.errors import ModelError, SettingsError, first_line
from mobilesam.integrity import described
from mobilesam.predict.backend import Floats, Precision
from mobilesam.predict.pair import Feed, PairBackend
from mobilesam.quiet import without_telemetry

with without_telemetry():
    import openvino as ov

MADE = "made"  # an output added to the decoders: (1, S), which prompts got masks
ROUNDING = 2**-7  # twice bfloat16's

_TYPES = {"float32": "f32", "bfloat16": "bf16"}


class FirstAlone:
    """Lets the first inference of the process be over before others begin.

    In it OpenVINO's binding looks numpy up, and lets go of Python's lock while it holds one of its own: two threads
    that come at once may wait for each other for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_over = False

    @contextmanager
    def first(self) -> Iterator[None]:
        """Around every inference."""
        if self._is_over:
            yield
            return
        with self._lock:
            yield
            self._is_over = True


_alone = FirstAlone()


class Renewable:
    """A compiled graph, and how to compile it again.

    A call that fails midway leaves the compiled graph with the shapes of some of its nodes changed, and the requests of
    all threads share it: what comes next fails too, or answers wrongly.
    """

    def __init__(self, compiled: ov.CompiledModel, compile_again: Callable[[], ov.CompiledModel]) -> None:
        self.compile_again = compile_again
        self._compiled: ov.CompiledModel | None = compiled
        self._lock = threading.Lock()

    @property
    def compiled(self) -> ov.CompiledModel:
        """The one that all threads share."""
        with self._lock:
            if self._compiled is None:
                self._compiled = self.compile_again()
            return self._compiled

    def is_current(self, compiled: ov.CompiledModel) -> bool:
        """Whether no call has failed on it."""
        return self._compiled is compiled

    def drop(self, failed: ov.CompiledModel) -> None:
        """Let nobody use it again."""
        with self._lock:
            if self._compiled is failed:
                self._compiled = None

    def share(self, fresh: ov.CompiledModel) -> None:
        """Give all threads one that has answered well, unless they have one."""
        with self._lock:
            self._compiled = self._compiled or fresh


class OpenVinoBackend(PairBackend[Renewable]):
    """An exported pair in OpenVINO.

    Args:
        folder: where the pair lies.
        threads: for all operators; None lets OpenVINO choose.
        precision: what it computes in. bfloat16 is faster where the processor has it, and a little off:
            docs/decisions/0005-openvino.md has the measured cost.
        image_size: side of the picture in pixels; the model's own when None.

    Raises:
        ModelError: a file is missing, damaged, of another contract, or the two do not belong together.
        SettingsError: no such precision.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        threads: int | None = None,
        precision: Precision = "float32",
        image_size: int | None = None,
    ) -> None:
        if precision not in _TYPES:
            raise SettingsError(f"unknown precision '{precision}'; known: {', '.join(_TYPES)}")
        self._threads, self._precision = threads, precision
        self._settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _TYPES[precision]}
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._local = threading.local()
        super().__init__(folder, image_size)

    def _options(self) -> dict[str, Any]:
        return {"threads": self._threads, "precision": self._precision}

    def _answer(self, graph: Renewable, feed: Feed) -> tuple[Floats, Floats]:
        # Where it computes in bfloat16 it compares so too: ask for a few more, and choose by the scores it returns.
        min_score = float(feed[contract.DECODER_MIN_SCORE])
        lower = min_score - ROUNDING * (abs(min_score) + 1)
        asked = {**feed, contract.DECODER_MIN_SCORE: np.array(lower, np.float32)}
        low_res, scores, made = self._run(graph, asked, (*contract.DECODER_OUTPUTS, MADE))
        return low_res[scores.max(axis=1)[made[0]] > min_score], scores

    def _open(self, path: Path, grid: int | None) -> tuple[Renewable, Mapping[str, str]]:
        compiled, metadata = self._compile(path, grid)
        return Renewable(compiled, lambda: self._compile(path, grid)[0]), metadata

    def _compile(self, path: Path, grid: int | None) -> tuple[ov.CompiledModel, Mapping[str, str]]:
        try:
            graph = the_core().read_model(path)
            keys = (*contract.METADATA_KEYS, *contract.OPTIONAL_KEYS, contract.MANY_DECODER_SHA256)
            known = {key: ["framework", key] for key in keys}
            metadata = {key: graph.get_rt_info(at).astype(str) for key, at in known.items() if graph.has_rt_info(at)}
            open_optional_input(graph)
            if grid is not None:
                fix_grid(graph, grid)
            name_the_made(graph)
            return the_core().compile_model(graph, "CPU", self._settings), metadata
        except RuntimeError as error:
            raise ModelError(
                f"{path} is damaged or not an ONNX model{described(path)} ({first_line(error)})"
            ) from error

    def _run(self, graph: Renewable, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        used = graph.compiled
        try:
            answers = self._infer(graph, used, feed, outputs)
            if graph.is_current(used):
                return answers
        except RuntimeError:
            graph.drop(used)
        # The fault may lie with another thread's call on the same compiled graph, so ask one that nobody else has.
        fresh = graph.compile_again()
        answers = self._infer(graph, fresh, feed, outputs)
        graph.share(fresh)
        return answers

    def _infer(self, graph: Renewable, used: ov.CompiledModel, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        """On a request of this thread's own: requests are not safe to share."""
        requests: dict[int, tuple[ov.CompiledModel, ov.InferRequest]] = self._local.__dict__.setdefault("requests", {})
        of, request = requests.get(id(graph), (None, None))
        if of is not used:
            request = used.create_infer_request()
            requests[id(graph)] = used, request
        with _alone.first():
            arrays = {name: np.asarray(array, order="C") for name, array in feed.items()}
            results = request.infer(arrays, share_inputs=True)
            return [np.array(results[name]) for name in outputs]  # copied: the next inference writes over them


@cache
def the_core() -> ov.Core:
    """One for the process, for good.

    A core lends the main thread a stack for signals and, when it goes, gives back the one it found. With two that go in
    the order they came, that one is gone, and the next signal ends the process.
    """
    return ov.Core()


def open_optional_input(graph: ov.Model) -> None:
    """OpenVINO takes an input with a default, as contract 2 had, for a constant; make it an input again."""
    for node in graph.get_ordered_ops():
        if node.get_friendly_name() == contract.DECODER_MIN_SCORE and node.get_type_name() == "Constant":
            parameter = ov.opset8.parameter([], np.float32, name=contract.DECODER_MIN_SCORE)
            parameter.output(0).get_tensor().set_names({contract.DECODER_MIN_SCORE})
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(parameter.output(0))
            graph.add_parameters([parameter])


def fix_grid(graph: ov.Model, grid: int) -> None:
    """Tell a decoder the side of its embedding in cells, where its file leaves that open."""
    shapes = {}
    for port in graph.inputs:
        shape = port.get_partial_shape()
        if len(shape) == 4:  # the embedding, and the mask input with four times its side
            side = grid if port.get_any_name() == contract.DECODER_INPUTS[0] else 4 * grid
            shape[2], shape[3] = side, side
            shapes[port] = shape
    graph.reshape(shapes)


def name_the_made(graph: ov.Model) -> None:
    """Make an output of the one place where a decoder says which prompts get masks."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "NonZero":
            node.output(0).get_tensor().add_names({MADE})
            graph.add_outputs(node.output(0))
