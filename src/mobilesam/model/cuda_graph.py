"""CUDA graphs: calls of a network that are recorded once for each shape, then replayed as a whole.

On a large GPU a small network waits for its kernels to be launched one by one; a replay launches all of them at once.
A recorded call must not copy between CPU and GPU nor wait for a result, which tests/model/test_cuda_graph.py checks of
our networks on the CPU. docs/gpu.md has what it gave on an H100.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from threading import Lock

import torch
from torch import Tensor

from mobilesam.errors import first_line

Tensors = tuple[Tensor, ...]
Function = Callable[..., Tensors]
Shapes = tuple[torch.Size, ...]

MAX_SHAPES = 8  # each recording keeps the memory of its intermediate results
WARM_UP = 3  # calls before a recording, as torch's documentation asks for: libraries allocate and choose kernels


class Recording:
    """One recorded call on the GPU that the inputs are on, for inputs of their shapes."""

    def __init__(self, function: Function, inputs: Tensors) -> None:
        self._function = function
        self._device = inputs[0].device
        self.inputs = tuple(tensor.clone() for tensor in inputs)  # the places that every replay reads
        self.outputs = self._record()  # the places that every replay writes

    def run(self, inputs: Tensors) -> Tensors:
        """The function's outputs for other inputs of the same shapes; not to be called by two threads at once."""
        self._wait_for_last_run()
        for place, tensor in zip(self.inputs, inputs, strict=True):
            place.copy_(tensor)
        self._replay()
        outputs = tuple(tensor.clone() for tensor in self.outputs)
        self._end_run()
        return outputs

    def _record(self) -> Tensors:
        self._graph = torch.cuda.CUDAGraph()
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.device(self._device):
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self._function(*self.inputs)
            torch.cuda.current_stream().wait_stream(aside)
            # "thread_local": other threads may go on using the GPU while this one records.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                return self._function(*self.inputs)

    def _replay(self) -> None:
        self._graph.replay()

    # Threads may use streams of their own, and what they queued last may still read or write the places.
    def _wait_for_last_run(self) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._done)

    def _end_run(self) -> None:
        self._done.record(torch.cuda.current_stream(self._device))


class GraphRunner:
    """Runs a function of tensors, by replaying a recording where its inputs have shapes that came before.

    The first call of a shape is an ordinary one, so shapes that come once cost nothing; the second call records. Where
    that fails, or too many shapes are recorded already, calls of the shape stay ordinary ones. Safe to call from
    several threads.

    Args:
        function: gives a tuple of tensors whose shapes depend on those of its inputs alone.
        device: calls are recorded on a "cuda" device, and ordinary on others.
        recording: makes a recording of a call.
    """

    def __init__(
        self,
        function: Function,
        device: torch.device,
        recording: Callable[[Function, Tensors], Recording] = Recording,
    ) -> None:
        self._function = function
        self._device = device
        self._recording = recording
        self._lock = Lock()
        self._recorded: dict[Shapes, Recording | None] = {}  # None: came once, or cannot be recorded
        self._failed: set[Shapes] = set()

    def __getstate__(self) -> tuple[Function, torch.device, Callable[[Function, Tensors], Recording]]:
        return self._function, self._device, self._recording  # a lock and recordings cannot be copied

    def __setstate__(self, state: tuple[Function, torch.device, Callable[[Function, Tensors], Recording]]) -> None:
        GraphRunner.__init__(self, *state)

    def __call__(self, *inputs: Tensor) -> Tensors:
        """The function's outputs."""
        if self._device.type == "cuda":
            with self._lock:
                recording = self._find(inputs)
                if recording is not None:
                    return recording.run(inputs)
        return self._function(*inputs)

    def _find(self, inputs: Tensors) -> Recording | None:
        """The recording for inputs of these shapes, made if they came before; None for an ordinary call."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._recorded:
            self._recorded[shapes] = None
            return None
        found = self._recorded[shapes]
        if found is None and shapes not in self._failed and self._num_recorded < MAX_SHAPES:
            found = self._recorded[shapes] = self._record(inputs, shapes)
        return found

    def _record(self, inputs: Tensors, shapes: Shapes) -> Recording | None:
        """A recording for inputs of these shapes, or None with a warning where it fails."""
        try:
            return self._recording(self._function, inputs)
        except RuntimeError as error:
            self._failed.add(shapes)
            warnings.warn(
                f"no CUDA graph could be recorded, so calls of this shape are slower: {first_line(error)}",
                RuntimeWarning,
                stacklevel=5,
            )
            return None

    @property
    def _num_recorded(self) -> int:
        return sum(recording is not None for recording in self._recorded.values())
