"""The OpenVINO backend (extra `openvino`): runs an exported pair, in bfloat16 where the processor supports it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mobilesam import contract
from mobilesam.errors import ModelError, SettingsError, first_line
from mobilesam.integrity import described
from mobilesam.predict.backend import Floats, Precision, computed_precision
from mobilesam.predict.pair import Feed, PairBackend
from mobilesam.quiet import without_telemetry
from mobilesam.text import unknown

with without_telemetry():
    import openvino as ov
    from openvino.passes import ConstantFolding, Manager

MADE = "made"  # name of an output added to the decoders: (1, S) indices of the prompts that got masks
ROUNDING = 2**-7  # twice the relative rounding error of bfloat16

_TYPES = {"float32": "f32", "bfloat16": "bf16"}


class FirstAlone:
    """A lock that lets the first inference of the process finish before others begin, to prevent a deadlock.

    During the first inference OpenVINO's binding imports numpy, and releases Python's GIL while it holds a lock of its
    own: two threads that start at once may wait for each other forever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_over = False

    @contextmanager
    def first(self) -> Iterator[None]:
        """Context manager for every inference; it locks only until the first has finished."""
        if self._is_over:
            yield
            return
        with self._lock:
            yield
            self._is_over = True


_alone = FirstAlone()


class Renewable:
    """A compiled graph that is compiled again after a call on it failed.

    A call that fails midway leaves some nodes of the compiled graph with changed shapes. Requests of all threads share
    the graph, so that later calls would fail too, or return wrong results.
    """

    def __init__(self, compiled: ov.CompiledModel, compile_again: Callable[[], ov.CompiledModel]) -> None:
        self.compile_again = compile_again
        self._compiled: ov.CompiledModel | None = compiled
        self._lock = threading.Lock()

    @property
    def compiled(self) -> ov.CompiledModel:
        """The compiled graph that all threads share."""
        with self._lock:
            if self._compiled is None:
                self._compiled = self.compile_again()
            return self._compiled

    def is_current(self, compiled: ov.CompiledModel) -> bool:
        """Whether a compiled graph is still the shared one, because no call on it has failed."""
        return self._compiled is compiled

    def drop(self, failed: ov.CompiledModel) -> None:
        """Stop sharing a compiled graph on which a call has failed."""
        with self._lock:
            if self._compiled is failed:
                self._compiled = None

    def share(self, fresh: ov.CompiledModel) -> None:
        """Share a new compiled graph that has worked, unless another thread already shares one."""
        with self._lock:
            self._compiled = self._compiled or fresh


class OpenVinoBackend(PairBackend[Renewable]):
    """Backend that runs an exported pair in OpenVINO on the CPU.

    Args:
        folder: folder with the pair.
        threads: number of threads; None lets OpenVINO choose.
        precision: number format of computation. bfloat16 is faster but less exact (the error was measured in
            docs/decisions/0005-openvino.md); a processor without it computes in float32.
        image_size: side of the square input in pixels; None for the model's default.

    Raises:
        ModelError: a file is missing, damaged or of another contract, or the two files do not belong together.
        SettingsError: the precision is unknown.
    """

    own_files = (contract.OPENVINO_ENCODER_FILE, contract.OPENVINO_DECODER_FILE)

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        threads: int | None = None,
        precision: Precision = "float32",
        image_size: int | None = None,
    ) -> None:
        if precision not in _TYPES:
            raise SettingsError(unknown("precision", str(precision), _TYPES))
        self._threads, self._precision = threads, precision
        self.precision = computed_precision(precision, "OpenVINO", has_bfloat16)
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _TYPES[self.precision],
        }
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._local = threading.local()
        super().__init__(folder, image_size)

    def _options(self) -> dict[str, Any]:
        return {"threads": self._threads, "precision": self._precision}

    def _answer(self, graph: Renewable, feed: Feed) -> tuple[Floats, Floats]:
        # In bfloat16 the comparison with `min_score` is rounded too: lower the limit by the rounding error, and filter
        # by the returned scores.
        min_score = float(feed[contract.DECODER_MIN_SCORE])
        lower = min_score - ROUNDING * (abs(min_score) + 1)
        asked = {**feed, contract.DECODER_MIN_SCORE: np.array(lower, np.float32)}
        low_res, scores, made = self._run(graph, asked, (*contract.DECODER_OUTPUTS, MADE))
        return low_res[scores.max(axis=1)[made[0]] > min_score], scores

    def _open(self, path: Path, grid: int | None) -> tuple[Renewable, Mapping[str, str]]:
        # A graph keeps nothing that leads back to the backend: such a cycle would hold the memory of both until Python
        # looks for cycles again.
        compile_again = partial(compile_graph, path, grid, self._settings)
        compiled, metadata = compile_again()
        return Renewable(compiled, lambda: compile_again()[0]), metadata

    def _run(self, graph: Renewable, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        used = graph.compiled
        try:
            answers = self._infer(graph, used, feed, outputs)
            if graph.is_current(used):
                return answers
        except RuntimeError:
            graph.drop(used)
        # Another thread's call on the same compiled graph may be the cause, so retry on one that is not shared.
        fresh = graph.compile_again()
        answers = self._infer(graph, fresh, feed, outputs)
        graph.share(fresh)
        return answers

    def _infer(self, graph: Renewable, used: ov.CompiledModel, feed: Feed, outputs: tuple[str, ...]) -> list[Floats]:
        """Run an inference on this thread's own request, because requests are not thread-safe."""
        requests: dict[int, tuple[ov.CompiledModel, ov.InferRequest]] = self._local.__dict__.setdefault("requests", {})
        of, request = requests.get(id(graph), (None, None))
        if of is not used:
            request = used.create_infer_request()
            requests[id(graph)] = used, request
        with _alone.first():
            arrays = {name: np.asarray(array, order="C") for name, array in feed.items()}
            results = request.infer(arrays, share_inputs=True)
            return [np.array(results[name]) for name in outputs]  # copied: the next inference writes over them


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor."""
    return "BF16" in shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def shared_core() -> ov.Core:
    """The OpenVINO core, one per process and never freed.

    A core installs an alternate signal stack for the main thread and restores the previous one when it is freed. If two
    cores are freed in the order of their creation, the restored stack no longer exists, and the next signal ends the
    process.
    """
    return ov.Core()


def compile_graph(path: Path, grid: int | None, settings: dict[str, Any]) -> tuple[ov.CompiledModel, Mapping[str, str]]:
    """Compile a graph of a pair for the CPU; returns it and its metadata. Arguments are those of `PairBackend._open`.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        graph = shared_core().read_model(path)
        keys = (*contract.METADATA_KEYS, *contract.OPTIONAL_KEYS, contract.MANY_DECODER_SHA256)
        known = {key: ["framework", key] for key in keys}
        metadata = {key: graph.get_rt_info(at).astype(str) for key, at in known.items() if graph.has_rt_info(at)}
        open_optional_input(graph)
        if grid is not None:
            fix_grid(graph, grid)
        add_made_output(graph)
        fold_constants(graph)
        return shared_core().compile_model(graph, "CPU", settings), metadata
    except RuntimeError as error:
        raise ModelError(f"{path} is damaged or not an ONNX model{described(path)} ({first_line(error)})") from error


def open_optional_input(graph: ov.Model) -> None:
    """Turn the optional input `min_score` of contract 2, which OpenVINO reads as a constant, into an input again."""
    for node in graph.get_ordered_ops():
        if node.get_friendly_name() == contract.DECODER_MIN_SCORE and node.get_type_name() == "Constant":
            parameter = ov.opset8.parameter([], np.float32, name=contract.DECODER_MIN_SCORE)
            parameter.output(0).get_tensor().set_names({contract.DECODER_MIN_SCORE})
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(parameter.output(0))
            graph.add_parameters([parameter])


def fold_constants(graph: ov.Model) -> None:
    """Compute now what depends on no input, above all the unpacking of weights that are stored in few levels.

    The CPU plugin would take some of these operators for int8 layers: unpack the weights anew in every call, and round
    what is multiplied by them to 8 bits.
    """
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(graph)


def fix_grid(graph: ov.Model, grid: int) -> None:
    """Set the embedding's side in cells, which is dynamic in the file of a decoder."""
    shapes = {}
    for port in graph.inputs:
        shape = port.get_partial_shape()
        if len(shape) == 4:  # the embedding, and the mask input with four times its side
            side = grid if port.get_any_name() == contract.DECODER_INPUTS[0] else 4 * grid
            shape[2], shape[3] = side, side
            shapes[port] = shape
    graph.reshape(shapes)


def add_made_output(graph: ov.Model) -> None:
    """Add the output `MADE`: the indices of the prompts that get masks, from the decoder's only NonZero node."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "NonZero":
            node.output(0).get_tensor().add_names({MADE})
            graph.add_outputs(node.output(0))
